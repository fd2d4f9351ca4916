import { describe, expect, it } from '@jest/globals';
import { syncPrices, type UsageGroup } from '../src/index.js';
import { accepted, completed, jobIdAt, KEY_ID, logger, useBooks } from './support.js';

const books = useBooks();
const ZONES = ['Europe/Berlin', 'Asia/Kolkata', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'America/New_York', 'UTC'];
/** Around both changes of the clocks in each of the zones, every 5 minutes for some hours, and ordinary days. */
const INSTANTS = [
  '2026-03-07T22:00Z',
  '2026-03-08T04:00Z',
  '2026-03-28T22:00Z',
  '2026-04-04T12:00Z',
  '2026-10-03T13:00Z',
  '2026-10-24T22:00Z',
  '2026-11-01T03:00Z',
  '2026-12-31T12:00Z',
].flatMap((start) => Array.from({ length: 60 }, (_, index) => Date.parse(start) + index * 300_000 + 1));

function localDay(timeMs: number, timeZone: string): string {
  return new Intl.DateTimeFormat('en-CA', { timeZone, dateStyle: 'short' }).format(timeMs);
}

function countBy(keys: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

async function recordInstants(): Promise<void> {
  await books.store.recordFacts(INSTANTS.map((timeMs) => completed({ jobId: jobIdAt(timeMs) })));
}

async function usageBy(groupBy: UsageGroup, timeZone: string): Promise<Record<string, number>> {
  const rows = await books.store.findUsage({ tenantId: 'acme', fromMs: 0, toMs: 4e12, groupBy, timeZone });
  expect(rows.map(({ group }) => group)).toEqual(rows.map(({ group }) => group).sort());
  return Object.fromEntries(rows.map(({ group, jobs }) => [group, jobs]));
}

describe('findUsage', () => {
  it('cuts days and months in any time zone as the calendar of that zone does', async () => {
    await recordInstants();
    for (const timeZone of ZONES) {
      const days = INSTANTS.map((timeMs) => localDay(timeMs, timeZone));
      expect(await usageBy('day', timeZone)).toEqual(countBy(days));
      expect(await usageBy('month', timeZone)).toEqual(countBy(days.map((day) => day.slice(0, 7))));
    }
  });

  it('tells the two hours apart that have the same local name', async () => {
    const hours = ['2026-10-25T00:10Z', '2026-10-25T00:50Z', '2026-10-25T01:10Z'].map((time) => Date.parse(time));
    await books.store.recordFacts(hours.map((timeMs) => completed({ jobId: jobIdAt(timeMs) })));
    expect(await usageBy('hour', 'Europe/Berlin')).toEqual({ '2026-10-25T00:00:00Z': 2, '2026-10-25T01:00:00Z': 1 });
    expect(await usageBy('hour', 'Asia/Kolkata')).toEqual({ '2026-10-24T23:30:00Z': 1, '2026-10-25T00:30:00Z': 2 });
  });

  it('sums tokens, money and failures by model and by key, of one tenant and within the time asked for', async () => {
    const at = Date.parse('2026-11-10T10:00:00Z');
    await syncPrices({
      url: books.url,
      logger,
      prices: [{ model: 'embedder', meter: 'input', usdPerMillion: '1', from: '2026-01-01T00:00:00Z' }],
    });
    await books.store.recordFacts([
      completed({ jobId: jobIdAt(at), usage: { inputTokens: 5, outputTokens: 1, cachedTokens: 2 } }),
      completed({
        jobId: jobIdAt(at + 1),
        state: 'failed',
        usage: { inputTokens: 1, outputTokens: 0, cachedTokens: 0 },
      }),
      completed({ jobId: jobIdAt(at), model: 'other' }),
      completed({ jobId: jobIdAt(at), tenantId: 'other' }),
      completed({ jobId: jobIdAt(at - 1) }),
      completed({ jobId: jobIdAt(at + 900_000) }),
    ]);
    const query = { tenantId: 'acme', fromMs: at, toMs: at + 900_000, timeZone: 'UTC' };
    const embedder = {
      jobs: 2,
      failedJobs: 1,
      inputTokens: 6,
      outputTokens: 1,
      cachedTokens: 2,
      amountNanoUsd: 4_000n,
    };
    expect(await books.store.findUsage({ ...query, groupBy: 'model' })).toEqual([
      { group: 'embedder', ...embedder },
      expect.objectContaining({ group: 'other', jobs: 1, amountNanoUsd: 0n }),
    ]);
    expect(await books.store.findUsage({ ...query, groupBy: 'apiKey' })).toMatchObject([{ group: KEY_ID, jobs: 3 }]);
  });
});

describe('the views', () => {
  it('cut days and months in the time zone of each tenant', async () => {
    await recordInstants();
    for (const timeZone of ZONES) {
      await books.store.upsertTenant({ tenantId: 'acme', plan: 'p', timeZone });
      const days = INSTANTS.map((timeMs) => localDay(timeMs, timeZone));
      const daily = await books.query<{ day: string; jobs: bigint }>('SELECT day::text, jobs FROM v_usage_daily');
      expect(Object.fromEntries(daily.map(({ day, jobs }) => [day, Number(jobs)]))).toEqual(countBy(days));
      const monthly = await books.query<{ month: string; jobs: bigint }>('SELECT month::text, jobs FROM v_statement');
      expect(Object.fromEntries(monthly.map(({ month, jobs }) => [month.slice(0, 7), Number(jobs)]))).toEqual(
        countBy(days.map((day) => day.slice(0, 7))),
      );
    }
  });

  it('add up to the ledger', async () => {
    await syncPrices({
      url: books.url,
      logger,
      prices: [{ model: 'embedder', meter: 'input', usdPerMillion: '0.000000007', from: '2026-01-01T00:00:00Z' }],
    });
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'p', timeZone: 'Asia/Kathmandu' });
    const usage = { inputTokens: 500_000, outputTokens: 0, cachedTokens: 0 };
    await books.store.recordFacts(INSTANTS.map((timeMs) => completed({ jobId: jobIdAt(timeMs), usage })));
    const [sums] = await books.query(
      `SELECT (SELECT sum(amount_nano_usd)::bigint FROM ledger) AS ledger,
              (SELECT sum(amount_nano_usd)::bigint FROM v_statement) AS statement,
              (SELECT sum(amount_nano_usd)::bigint FROM v_usage_daily) AS daily,
              (SELECT sum(amount_usd)::text FROM v_statement) AS usd`,
    );
    // 3.5 nano-USD each, rounded away from zero.
    const total = BigInt(INSTANTS.length) * 4n;
    expect(sums).toEqual({ ledger: total, statement: total, daily: total, usd: '0.000001920' });
  });

  it('of reconciliation show what they are for', async () => {
    const old = jobIdAt(Date.now() - 86_400_000);
    await books.store.recordFacts([accepted({ jobId: old, expiresAtMs: Date.now() - 600_000 })]);
    expect(await books.query('SELECT job_id FROM v_recon_missing_terminal')).toEqual([{ job_id: old }]);

    const orphan = jobIdAt(Date.now());
    await books.query(
      `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens, recorded_at)
       VALUES ($1, uuid7_time($1), 2, 'acme', $2, 'm', 'succeeded', 1, 1, now() - interval '1 hour')`,
      [orphan, KEY_ID],
    );
    expect(await books.query('SELECT job_id FROM v_recon_terminal_without_reserve')).toEqual([{ job_id: orphan }]);
    expect(await books.query('SELECT ledger_jobs, rollup_jobs FROM v_recon_rollup_drift')).toEqual([
      { ledger_jobs: 1n, rollup_jobs: null },
    ]);
  });
});

describe('the role reporter', () => {
  it('reads every view and nothing else', async () => {
    await books.query('SET ROLE reporter');
    const relations = await books.query<{ name: string; kind: string }>(
      `SELECT relname AS name, relkind::text AS kind FROM pg_class
       WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY relname`,
    );
    expect(relations.filter(({ kind }) => kind === 'v').length).toBeGreaterThanOrEqual(7);
    for (const { name, kind } of relations) {
      const reading = books.query(`SELECT * FROM ${name} LIMIT 1`);
      if (kind === 'v') await expect(reading).resolves.toEqual(expect.any(Array));
      else await expect(reading).rejects.toMatchObject({ code: '42501' });
    }
    await expect(books.query('CREATE TABLE mine ()')).rejects.toMatchObject({ code: '42501' });
    await expect(books.query('CALL ensure_partitions()')).rejects.toMatchObject({ code: '42501' });
    await expect(books.query('INSERT INTO usage_15m SELECT * FROM usage_15m')).rejects.toMatchObject({ code: '42501' });
  });

  it('cannot log in by itself and has a time limit', async () => {
    const [role] = await books.query<{ rolcanlogin: boolean; rolconfig: string[] }>(
      `SELECT rolcanlogin, rolconfig FROM pg_roles WHERE rolname = 'reporter'`,
    );
    expect(role).toEqual({ rolcanlogin: false, rolconfig: ['statement_timeout=60s'] });
  });

  it('finds a description of every view', async () => {
    const undescribed = await books.query(
      `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
       AND obj_description(oid, 'pg_class') IS NULL`,
    );
    expect(undescribed).toEqual([]);
  });
});
