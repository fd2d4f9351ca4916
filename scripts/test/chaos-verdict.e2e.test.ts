import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createTenants,
  judge,
  startLoad,
  SUITE_SETTINGS,
  type Observations,
  type Tenants,
  type Verdict,
} from '../src/chaos/outsider/index.js';
import { closeClient } from '../src/client.js';
import type { Suite } from '../src/suite.js';
import { isolate, type Isolated } from './isolated-suite.js';

const SECONDS = 6;
const PER_SECOND = 40;
const DRAIN_MS = 60_000;

let isolated: Isolated;
let suite: Suite;
let tenants: Tenants;
let observations: Observations;

beforeAll(async () => {
  isolated = await isolate();
  suite = await isolated.start({ gateways: 2, workers: 2, collectors: 2, extra: SUITE_SETTINGS });
  const amqpUrl = isolated.environment['SLUICE_RABBITMQ_URL'] ?? '';
  const brokerUser = decodeURIComponent(new URL(amqpUrl).username);
  const { url, adminKey } = suite;
  const urls = (): readonly string[] => suite.urls;
  tenants = await createTenants({ url, adminKey, brokerUser, perSecond: PER_SECOND, seconds: SECONDS });
  const load = await startLoad({ urls, tenants, amqpUrl, seed: 7, perSecond: PER_SECOND });
  await sleep(SECONDS * 1000);
  observations = await load.stop({ timeoutMs: DRAIN_MS });
}, 180_000);
afterAll(async () => {
  await closeClient();
  await isolated.close();
});

function verdict(): Promise<Verdict> {
  const postgresUrl = isolated.environment['SLUICE_POSTGRES_URL'] ?? '';
  return judge({ observations, tenants, postgresUrl, urls: () => suite.urls, drainTimeoutMs: DRAIN_MS });
}

/** What must have been looked at, so that a check that is right did not simply have nothing to check. */
const LOOKED_AT = [
  ['accepted jobs', 100],
  ['bills above nothing', 100],
  ['refused requests', 5],
  ['of those by a limit', 1],
  ['invalid requests', 1],
  ['sent again after success', 1],
  ['other bodies', 1],
  ['used to 90 %', 1],
  ['rates', 8],
  ['quotas', 10],
  ['jobs asked to cancel', 5],
  ['results compared', 10],
  ['views', 9],
] as const;

describe('the verdict about a suite that nobody disturbs', () => {
  it('finds everything right, having looked at everything', async () => {
    const { right, checks, drain } = await verdict();
    expect(checks.filter((check) => !check.right)).toEqual([]);
    expect(right).toBe(true);
    expect(drain).toMatchObject({ complete: true, waitedFor: '' });
    const numbers = new Map(checks.flatMap((check) => Object.entries(check.numbers)));
    for (const [what, least] of LOOKED_AT) expect([what, numbers.get(what)]).toEqual([what, atLeast(least)]);
  }, 120_000);

  it('names the job whose bill somebody has changed', async () => {
    const { database } = isolated;
    const { rows } = await database.query<{ id: string }>(
      `SELECT job_id::text AS id FROM ledger WHERE phase = 2 AND state = 'succeeded' LIMIT 1`,
    );
    // n.b. the superuser's way past the trigger that refuses changes.
    await database.query('SET session_replication_role = replica');
    await database.query('UPDATE ledger SET amount_nano_usd = amount_nano_usd + 1 WHERE job_id = $1 AND phase = 2', [
      rows[0]?.id,
    ]);
    const { right, checks } = await verdict();
    expect(right).toBe(false);
    const wrong = checks.filter((check) => !check.right);
    expect(wrong.flatMap(({ offences }) => offences.map(({ jobId }) => jobId))).toContain(rows[0]?.id);
    expect(wrong.map(({ name }) => name)).toContain('each bill is what HTTP shows and what the prices make of it');
    expect(wrong.map(({ name }) => name)).toContain('every view of reconciliation is empty');
  }, 120_000);
});

function atLeast(least: number): { readonly asymmetricMatch: (value: unknown) => boolean } {
  return { asymmetricMatch: (value) => typeof value === 'number' && value >= least };
}
