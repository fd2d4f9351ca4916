import { describe, expect, it } from '@jest/globals';
import { LIMIT_SCOPES, LIMIT_UNITS } from '@sluice/contracts';
import fc from 'fast-check';
import { type Fact, type Measure, type RateWindow, syncPrices } from '../src/index.js';
import { measureArrays } from '../src/quota-facts.js';
import { loadStatement } from '../src/statements.js';
import { backlog, measured, type ModelJob } from './quota-model.js';
import { accepted, completed, jobIdAt, logger, useBooks } from './support.js';

const books = useBooks();
const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const KEYS = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'] as const;
const MODELS = ['embedder', 'other'] as const;

interface Amount {
  readonly measure: number;
  readonly subject: string;
  readonly used: number;
  readonly overage: number;
}

/** What the statement answers, and the time at which the database did. */
async function ask(tenantId: string, measures: readonly Measure[]): Promise<{ nowMs: number; amounts: Amount[] }> {
  await books.query('BEGIN');
  const [time] = await books.query<{ now_ms: string }>('SELECT floor(extract(epoch FROM now()) * 1000) AS now_ms');
  const values = [tenantId, ...measureArrays(measures), null];
  const [row] = await books.query<{ amounts: Amount[] }>(loadStatement('quota-facts').text, values);
  await books.query('COMMIT');
  return { nowMs: Number(time?.now_ms), amounts: row?.amounts ?? [] };
}

/** Amounts of rates come as fractions of a unit; times windowMs they are whole. */
function inWholes(amounts: readonly Amount[], measures: readonly Measure[]): Map<string, [number, number]> {
  return new Map(
    amounts.map(({ measure, subject, used, overage }) => {
      const window = measures[measure]?.window;
      const factor = window?.kind === 'rate' ? window.windowMs : 1;
      return [`${measure} ${subject}`, [Math.round(used * factor), Math.round(overage * factor)]];
    }),
  );
}

/** A job before it is recorded. */
type NewJob = Omit<ModelJob, 'amountNanoUsd' | 'recordedMs'>;

async function record(tenantId: string, jobs: readonly NewJob[]): Promise<ModelJob[]> {
  const ids = jobs.map(({ atMs }) => jobIdAt(atMs));
  const facts = jobs.flatMap((job, index): Fact[] => {
    const { apiKeyId, model, reservedTokens, reservedNanoUsd, usage, tellsHold } = job;
    const base = { jobId: ids[index] ?? '', tenantId, apiKeyId, model };
    const held = { reservedTokens, reservedNanoUsd };
    return [
      accepted({ ...base, ...held, expiresAtMs: Date.now() + HOUR }),
      ...(usage ? [completed({ ...base, usage, ...(tellsHold && held) })] : []),
    ];
  });
  const { newlyCompleted } = await books.store.recordFacts(facts);
  const [time] = await books.query<{ ms: string }>(
    `SELECT floor(extract(epoch FROM max(recorded_at)) * 1000) AS ms FROM ledger WHERE tenant_id = '${tenantId}'`,
  );
  return jobs.map((job, index) => ({
    ...job,
    amountNanoUsd: Number(newlyCompleted.get(ids[index] ?? '') ?? 0n),
    recordedMs: Number(time?.ms),
  }));
}

async function setPrices(): Promise<void> {
  const price = { usdPerMillion: '0.002', from: '2026-01-01T00:00:00Z' };
  const prices = MODELS.flatMap((model) => [
    { ...price, model, meter: 'input' as const },
    { ...price, model, meter: 'request' as const, usdPerMillion: '0.01' },
  ]);
  await syncPrices({ url: books.url, prices, logger });
}

const agoMs = fc.oneof(
  fc.integer({ min: -SECOND, max: 90 * SECOND }),
  fc.integer({ min: 0, max: 40 * MINUTE }),
  fc.integer({ min: 0, max: 27 * HOUR }),
);
const job = fc.record({
  agoMs,
  apiKeyId: fc.constantFrom(...KEYS),
  model: fc.constantFrom(...MODELS),
  reservedTokens: fc.integer({ min: 0, max: 300 }),
  reservedNanoUsd: fc.integer({ min: 0, max: 300_000 }),
  usage: fc.option(
    fc
      .tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 200 }))
      .map(([inputTokens, outputTokens]) => ({ inputTokens, outputTokens, cachedTokens: 0 })),
    { nil: undefined, freq: 4 },
  ),
  tellsHold: fc.boolean(),
});
const rate = fc.record({
  kind: fc.constant('rate' as const),
  max: fc.integer({ min: 1, max: 2_000 }),
  windowMs: fc.constantFrom(MINUTE, 10 * MINUTE),
});
/** Ends of a period, from the hour that began most recently. */
const period = fc
  .tuple(fc.integer({ min: -28 * HOUR, max: HOUR }), fc.integer({ min: -28 * HOUR, max: HOUR }), fc.boolean())
  .map(([from, to, isWhole]) => {
    const hourMs = Math.floor(Date.now() / HOUR) * HOUR;
    const cut = (offset: number): number => hourMs + (isWhole ? Math.floor(offset / HOUR) * HOUR : offset);
    return { kind: 'period' as const, fromMs: cut(Math.min(from, to)), toMs: cut(Math.max(from, to)) };
  });
const measure: fc.Arbitrary<Measure> = fc.record({
  scope: fc.constantFrom(...LIMIT_SCOPES),
  unit: fc.constantFrom(...LIMIT_UNITS),
  window: fc.oneof(rate, period),
});

describe('quotaFacts', () => {
  it('measures what a model of the same jobs does', async () => {
    await setPrices();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(job, { maxLength: 30 }),
        fc.array(measure, { minLength: 1, maxLength: 12 }),
        async (generated, measures) => {
          const tenantId = `tenant-${(run += 1)}`;
          const startMs = Date.now();
          const jobs = await record(
            tenantId,
            generated.map((one) => ({ ...one, atMs: startMs - one.agoMs })),
          );
          // Another tenant's jobs are never counted.
          await record(`${tenantId}-neighbour`, [{ ...NEIGHBOUR, atMs: startMs }]);
          const { nowMs, amounts } = await ask(tenantId, measures);
          const expected = measures.flatMap((one, index) =>
            [...measured(jobs, one, nowMs)].map(([subject, pair]) => [`${index} ${subject}`, pair] as const),
          );
          expect(inWholes(amounts, measures)).toEqual(new Map(expected));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('never measures less of a rate than it really lacks, where the limit was in force', async () => {
    let run = 0;
    const arrival = fc.record({
      agoMs: fc.oneof(fc.integer({ min: 0, max: 40 * MINUTE }), fc.integer({ min: 15 * MINUTE, max: 120 * MINUTE })),
      reserved: fc.integer({ min: 1, max: 400 }),
      used: fc.integer({ min: 0, max: 500 }),
      isOpen: fc.boolean(),
    });
    const window = { kind: 'rate', max: 400, windowMs: 10 * MINUTE } as const satisfies RateWindow;
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { minLength: 1, maxLength: 60 }), async (arrivals) => {
        const tenantId = `tenant-${(run += 1)}`;
        const jobs = admitted(arrivals, window);
        const [first] = await record(tenantId, jobs);
        const { nowMs, amounts } = await ask(tenantId, [{ scope: 'tenant', unit: 'tokens', window }]);
        const debts = jobs.map((one) => ({ atMs: first?.recordedMs ?? 0, units: beyondHold(one), overage: 0 }));
        const exact = backlog([...jobs.map(withinHold), ...debts], window, nowMs);
        const got = Math.round((amounts[0]?.used ?? 0) * window.windowMs);
        expect(got).toBeGreaterThanOrEqual(exact);
        const recentMs = Math.floor(nowMs / (15 * MINUTE)) * 15 * MINUTE - 15 * MINUTE;
        if (jobs.every(({ atMs }) => atMs >= recentMs)) expect(got).toBe(exact);
        // What is uncertain is at most one bucket, unless there is overage.
        if (jobs.every((one) => beyondHold(one) === 0))
          expect(got).toBeLessThanOrEqual(exact + window.max * window.windowMs);
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    [0, 599_990],
    [5 * HOUR, 299_990],
  ])('knows the debt of a job that was accepted long ago and recorded %d ms ago', async (recordedAgoMs, debt) => {
    const hold = { apiKeyId: KEYS[0], model: 'embedder', reservedTokens: 10, reservedNanoUsd: 0, tellsHold: true };
    const usage = { inputTokens: 500_000, outputTokens: 100_000, cachedTokens: 0 };
    await record('acme', [{ ...hold, atMs: Date.now() - 6 * HOUR, usage }]);
    // The ledger only ever grows, except for who is above its triggers.
    await books.query('SET session_replication_role = replica');
    await books.query(`UPDATE ledger SET recorded_at = recorded_at - interval '${recordedAgoMs} milliseconds'`);
    await books.query('SET session_replication_role = origin');
    const window = { kind: 'rate', max: 1_000, windowMs: MINUTE } as const;
    const { amounts } = await books.store.quotaFacts({
      tenantId: 'acme',
      measures: [{ scope: 'tenant', unit: 'tokens', window }],
    });
    // What came back since then is at most what a minute gives.
    expect(amounts[0]?.used).toBeLessThanOrEqual(debt);
    expect(amounts[0]?.used).toBeGreaterThanOrEqual(debt - window.max);
  });
});

const NEIGHBOUR = {
  apiKeyId: KEYS[0],
  model: 'embedder',
  reservedTokens: 1_000,
  reservedNanoUsd: 1_000,
  usage: { inputTokens: 7_000, outputTokens: 0, cachedTokens: 0 },
  tellsHold: true,
};

interface Arrival {
  readonly agoMs: number;
  readonly reserved: number;
  readonly used: number;
  readonly isOpen: boolean;
}

/** The arrivals for which a bucket had room, as jobs of now. */
function admitted(arrivals: readonly Arrival[], window: RateWindow): NewJob[] {
  const startMs = Date.now();
  const jobs: NewJob[] = [];
  for (const one of [...arrivals].sort((a, b) => b.agoMs - a.agoMs)) {
    const atMs = startMs - one.agoMs;
    const lacks = backlog(jobs.map(withinHold), window, atMs) / window.windowMs;
    if (lacks + one.reserved > window.max) continue;
    const usage = { inputTokens: one.used, outputTokens: 0, cachedTokens: 0 };
    const hold = { reservedTokens: one.reserved, reservedNanoUsd: 0, tellsHold: true };
    jobs.push({ atMs, apiKeyId: KEYS[0], model: 'embedder', ...hold, usage: one.isOpen ? undefined : usage });
  }
  return jobs;
}

/** What a job takes when it is accepted: nobody knows then what it will use beyond. */
function withinHold({ atMs, usage, reservedTokens }: NewJob) {
  return { atMs, units: Math.min(usage?.inputTokens ?? reservedTokens, reservedTokens), overage: 0 };
}

function beyondHold({ usage, reservedTokens }: NewJob): number {
  return Math.max(0, (usage?.inputTokens ?? 0) - reservedTokens);
}
