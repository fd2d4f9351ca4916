import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import { createTestDatabase, testServices, uniqueKeyPrefix, type TestDatabase } from '@sluice/local-services';
import { closeRedis, connectRedis, createQuota, redisReady, type RedisConnection } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { migrate } from '@sluice/store';
import pg from 'pg';
import type { Output } from '../src/console-output.js';
import { reconcile } from '../src/reconciliation.js';

const logger = createLogger({ app: 'test', level: 'silent' });
const KEY = '0190b5a0-0000-4000-8000-000000000001';

let database: TestDatabase;
let redis: RedisConnection;
let keyPrefix: string;
beforeEach(async () => {
  database = await createTestDatabase(testServices().postgresUrl);
  await migrate({ url: database.url, logger });
  redis = connectRedis({ url: testServices().redisUrl, name: 'test', logger });
  await redisReady(redis, 5_000);
  keyPrefix = uniqueKeyPrefix();
});
afterEach(async () => {
  await closeRedis(redis);
  await database.drop();
});

async function run(): Promise<{ readonly right: boolean; readonly text: string }> {
  const lines: string[] = [];
  const print = (text = ''): void => void lines.push(text);
  const output: Output = {
    ...{ step: print, heading: print, line: print, problem: print },
    table: (head, rows) => [head, ...rows].forEach((row) => print(row.join(' | '))),
    progress: () => ({ tick: () => undefined, done: () => undefined }),
  };
  const environment = {
    SLUICE_POSTGRES_URL: database.url,
    SLUICE_REDIS_URL: testServices().redisUrl,
    SLUICE_KEY_PREFIX: keyPrefix,
  };
  return { right: await reconcile({ environment, output }), text: lines.join('\n') };
}

describe('npm run reconcile', () => {
  it('finds nothing in new books', async () => {
    const { right, text } = await run();
    expect(right).toBe(true);
    expect(text).toMatch(/v_recon_missing_terminal \| 0 \| /);
    expect(text).toContain('0 loaded tenants, none differs');
  });

  it('shows the rows of a check that found something', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const jobId = newJobId();
    await client.query(
      `INSERT INTO jobs (job_id, job_at, tenant_id, api_key_id, model, class, input_tokens, max_output_tokens,
                         reserved_tokens, expires_at)
       VALUES ($1, uuid7_time($1), 'acme', $2, 'm', 'standard', 1, 0, 1, now() - interval '1 hour')`,
      [jobId, KEY],
    );
    await client.end();
    const { right, text } = await run();
    expect(right).toBe(false);
    expect(text).toMatch(/v_recon_missing_terminal \| 1 \| /);
    expect(text).toContain(jobId);
  });

  it('shows a tenant whose limits in Redis are not what the books say', async () => {
    const quota = createQuota({ redis, keyPrefix, logger });
    const limit = { name: 'tokens-in-flight', kind: 'inFlight', unit: 'tokens', max: 100 } as const;
    const scopes = [{ scope: 'tenant', subject: '', limits: [limit] } as const];
    const ticket = await quota.beginLoad('acme');
    await quota.load({ ticket, scopes, cover: [limit.name], posted: [], openHolds: [] });
    const jobId = newJobId();
    const job = { tenantId: 'acme', jobId, owner: 'test', apiKeyId: KEY, model: 'm', scopes, facts: '{}' };
    await quota.reserve({ ...job, amounts: { tokens: 7, nanoUsd: 0 }, holdTtlMs: 60_000 });
    expect((await run()).text).toContain('1 loaded tenants, none differs');
    await redis.hdel(`${keyPrefix}:{acme}:quota`, `h:${jobId}`);
    const { right, text } = await run();
    expect(right).toBe(false);
    expect(text).toContain('acme | tenant |  | tokens-in-flight | 7');
  });
});
