import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, closeClient, createTenant, mustCall, type Tenant } from '../src/client.js';
import type { DemoJob } from '../src/demo-run.js';
import type { QuotaAnswer } from '../src/position.js';
import type { Suite } from '../src/suite.js';
import { booksOf } from './books-of.js';
import { writeConfiguration } from './configuration.js';
import { isolate, type Isolated } from './isolated-suite.js';

interface Problem {
  readonly code: string;
  readonly limit?: string;
}

let isolated: Isolated;
let suite: Suite;
let configDir: string;

/** One token for each byte. */
const JOB_TOKENS = 50;
const QUOTA_TOKENS = 20_020;
const INPUT = 'x'.repeat(JOB_TOKENS);
const TEN_CENTS_IN_USD_PER_MILLION = '100000';

beforeAll(async () => {
  isolated = await isolate();
  configDir = await writeConfiguration({
    plans: {
      budget: { limits: { moneyPerMonth: '5.00' } },
      quota: { limits: { tokensPerMonth: QUOTA_TOKENS } },
      open: { limits: { tokensPerMonth: 1_000_000, concurrentJobs: 100 } },
    },
    prices: [
      {
        model: 'guesslang',
        meter: 'request',
        usdPerMillion: TEN_CENTS_IN_USD_PER_MILLION,
        from: '2026-01-01T00:00:00Z',
      },
    ],
  });
  // Two of each, so that nothing is right only because one process sees everything.
  const extra = { SLUICE_CONFIG_DIR: configDir };
  suite = await isolated.start({ gateways: 2, workers: 2, collectors: 2, extra });
});
afterAll(async () => {
  await suite.stop();
  await closeClient();
  await isolated.close();
  await rm(configDir, { recursive: true, force: true });
});

function submit(tenant: Tenant, lane: number, key?: string) {
  return call<DemoJob & Problem>(suite.urls[lane % suite.urls.length] ?? '', '/v1/jobs', {
    method: 'POST',
    key: tenant.key,
    ...(key !== undefined && { headers: { 'idempotency-key': key } }),
    body: { model: 'guesslang', input: INPUT },
  });
}

async function finish(tenant: Tenant, id: string): Promise<DemoJob> {
  for (;;) {
    const { status, body } = await call<DemoJob>(suite.url, `/v1/jobs/${id}?wait=5`, { key: tenant.key });
    if (status === 200 && body.state !== 'queued' && body.state !== 'running') return body;
  }
}

describe('limits of the whole suite, two of each app', () => {
  it('admits exactly 50 of 1,000 concurrent jobs of $0.10 against a budget of $5', async () => {
    const tenant = await createTenant(suite, { tenantId: 'budget', plan: 'budget' });
    const answers = await Promise.all(Array.from({ length: 1_000 }, (_, lane) => submit(tenant, lane)));
    const accepted = answers.filter(({ status }) => status === 202);
    const refused = answers.filter(({ status }) => status !== 202);
    expect(refused.map(({ status, body }) => `${status} ${body.code} ${body.limit}`)).toEqual(
      refused.map(() => '429 budget_exceeded money-per-month'),
    );
    expect(accepted).toHaveLength(50);
    const jobs = await Promise.all(accepted.map(({ body }) => finish(tenant, body.id)));
    expect(jobs.every(({ state }) => state === 'succeeded')).toBe(true);
    const { rows } = await isolated.database.query<{ nano: string }>(
      `SELECT sum(amount_nano_usd)::text AS nano FROM ledger WHERE tenant_id = 'budget'`,
    );
    expect(rows[0]?.nano).toBe('5000000000');
    const { limits } = await mustCall<QuotaAnswer>(suite.url, '/v1/quota', { key: tenant.key });
    expect(limits.map(({ name, used, held }) => ({ name, used, held }))).toEqual([
      { name: 'money-per-month', used: 5_000_000_000, held: 0 },
    ]);
  });

  it('holds a quota to the job when Redis forgets everything under load, again and again', async () => {
    const tenant = await createTenant(suite, { tenantId: 'forgotten', plan: 'quota' });
    const accepted = new Set<string>();
    let losses = 0;
    let exhausted = 0;
    // A lane ends when it is refused although nothing is open: what is left of the quota is less than a job.
    const lanes = Array.from({ length: 8 }, async (_, lane) => {
      for (let full = false; !full;) {
        const key = randomUUID();
        for (;;) {
          const { status, body } = await submit(tenant, lane, key);
          if (status === 202) accepted.add(body.id);
          if (status === 202) break;
          if (body.code === 'quota_exceeded') {
            full = (await openJobs(tenant)) === 0 && accepted.size * JOB_TOKENS + JOB_TOKENS > QUOTA_TOKENS;
            if (!full) await sleep(50);
            break;
          }
          expect([status, body.code]).toEqual([503, 'quota_unavailable']);
          await sleep(20);
        }
      }
      exhausted += 1;
    });
    const losing = (async () => {
      while (exhausted === 0) {
        await sleep(150);
        await isolated.forgetRedis();
        losses += 1;
      }
    })();
    await Promise.all([...lanes, losing]);
    expect(losses).toBeGreaterThan(3);
    expect(accepted.size).toBe(Math.floor(QUOTA_TOKENS / JOB_TOKENS));
    await Promise.all([...accepted].map((id) => finish(tenant, id)));
    const books = await booksOf(isolated, suite.url, tenant);
    expect([...books.ledger.keys()].sort()).toEqual([...accepted].sort());
    expect({ used: books.used, held: books.held, alarms: books.alarms }).toEqual({
      used: accepted.size * JOB_TOKENS,
      held: 0,
      alarms: [],
    });
  });

  it('cancels a job that no worker has taken, and nobody is billed for it', async () => {
    const tenant = await createTenant(suite, { tenantId: 'canceled', plan: 'open' });
    const workers = suite.apps.filter(({ app }) => app === 'ml-worker');
    for (const { pid } of workers) process.kill(pid, 'SIGSTOP');
    try {
      const { body } = await submit(tenant, 0);
      const canceled = await call<DemoJob>(suite.url, `/v1/jobs/${body.id}`, { method: 'DELETE', key: tenant.key });
      expect(canceled).toMatchObject({ status: 200, body: { id: body.id, state: 'canceled' } });
      const again = await call<DemoJob>(suite.urls[1] ?? '', `/v1/jobs/${body.id}`, {
        method: 'DELETE',
        key: tenant.key,
      });
      expect(again).toMatchObject({ status: 200, body: { state: 'canceled' } });
    } finally {
      for (const { pid } of workers) process.kill(pid, 'SIGCONT');
    }
    const later = await submit(tenant, 0);
    expect((await finish(tenant, later.body.id)).state).toBe('succeeded');
    const books = await booksOf(isolated, suite.url, tenant);
    expect({ used: books.used, held: books.held, alarms: books.alarms }).toEqual({
      used: JOB_TOKENS,
      held: 0,
      alarms: [],
    });
  });
});

async function openJobs(tenant: Tenant): Promise<number> {
  const { rows } = await isolated.database.query<{ open: number }>(
    `SELECT count(*)::int AS open FROM ledger r WHERE r.tenant_id = $1 AND r.phase = 1
       AND NOT EXISTS (SELECT FROM ledger t WHERE t.job_id = r.job_id AND t.phase = 2)`,
    [tenant.tenantId],
  );
  return rows[0]?.open ?? 0;
}
