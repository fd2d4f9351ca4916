import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import { closeRedis, connectRedis, redisReady, type RedisConnection } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { fingerprint, sha256 } from '../src/submission.js';
import { createFixture, createTenant, send, type Answer, type Fixture, type Gateway } from './gateway-fixture.js';
import type { TcpProxy } from './tcp-proxy.js';

/** Of its own for this file, which flushes it. */
const REDIS_DATABASE = 6;
const INPUT = 'hello';

let fixture: Fixture;
let gateway: Gateway;
let postgres: TcpProxy;
let redis: RedisConnection;

beforeAll(async () => {
  fixture = await createFixture({ redisDatabase: REDIS_DATABASE });
  const { proxy, url } = await fixture.proxyOf('SLUICE_POSTGRES_URL');
  postgres = proxy;
  gateway = await fixture.startGateway({ SLUICE_POSTGRES_URL: url, SLUICE_LOAD_WAIT: '60s' });
  const logger = createLogger({ app: 'test', level: 'silent' });
  redis = connectRedis({ url: fixture.environment['SLUICE_REDIS_URL'] ?? '', name: 'test', logger });
  await redisReady(redis, 5_000);
}, 60_000);
afterAll(async () => {
  await closeRedis(redis);
  await fixture.close();
});

function submit(key: string, idempotencyKey?: string, input = INPUT): Promise<Answer> {
  const headers = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey };
  const body = JSON.stringify({ model: 'guesslang', input });
  return send(gateway.url, '/v1/jobs', { method: 'POST', body, key, headers });
}

const idOf = ({ body }: Answer): string => (body as { id: string }).id;
const codeOf = ({ body }: Answer): string => (body as { code: string }).code;

async function accepted(tenantId: string, ...jobs: readonly Answer[]): Promise<void> {
  expect(jobs.map(({ status }) => status)).toEqual(jobs.map(() => 202));
  await Promise.all(jobs.map((job) => fixture.collector.recorded(idOf(job))));
  const facts = fixture.collector.accepted.filter((fact) => fact.tenantId === tenantId);
  expect(facts.map(({ jobId }) => jobId).sort()).toEqual(jobs.map(idOf).sort());
}

async function heldTokens(key: string): Promise<number> {
  const { body } = await send(gateway.url, '/v1/quota', { key });
  const { limits } = body as { limits: readonly { kind: string; held: number }[] };
  return limits.find(({ kind }) => kind === 'quota')?.held ?? -1;
}

/** What is done while PostgreSQL is away needs none of it. */
async function withoutPostgres<T>(work: () => Promise<T>): Promise<T> {
  postgres.cut();
  try {
    return await work();
  } finally {
    postgres.restore();
  }
}

async function untilAnswered(request: () => Promise<Answer>): Promise<Answer> {
  let answer = await request();
  while (answer.status === 503) answer = await request();
  return answer;
}

describe('an Idempotency-Key', () => {
  it('of a tenant that has just been loaded for the first time is not looked up', async () => {
    const key = await createTenant(gateway.url, 'new');
    const loads = await submit(key);
    const keys = Array.from({ length: 5 }, () => randomUUID());
    const jobs = await withoutPostgres(async () => {
      const first = await Promise.all(keys.map((each) => submit(key, each)));
      const again = await Promise.all(keys.map((each) => submit(key, each)));
      expect(again.map(({ body }) => body)).toEqual(first.map(({ body }) => body));
      return first;
    });
    await accepted('new', loads, ...jobs);
  });

  it('of before a loss of Redis is restored with the tenant and leads to the recorded job', async () => {
    const key = await createTenant(gateway.url, 'lost');
    const idempotencyKey = randomUUID();
    const first = await untilAnswered(() => submit(key, idempotencyKey));
    await fixture.collector.recorded(idOf(first));
    await redis.flushdb();
    const loads = await submit(key);
    const fresh = await withoutPostgres(async () => {
      expect(codeOf(await submit(key, idempotencyKey, 'something else'))).toBe('idempotency_key_reused');
      return submit(key, randomUUID());
    });
    const again = await untilAnswered(() => submit(key, idempotencyKey));
    expect(again.status).toBe(202);
    expect(again.body).toEqual(first.body);
    await accepted('lost', first, loads, fresh);
  });
});

/** What a gateway leaves behind that reserved a job and died before it published it. */
async function reserveAndDie(tenantId: string, idempotencyKey: string): Promise<string> {
  const jobId = newJobId();
  const body = { model: 'guesslang', input: INPUT, class: 'standard' as const };
  const idempotency = { keyHash: sha256(idempotencyKey), fingerprint: fingerprint(body), ttlMs: 60_000, checked: true };
  const outcome = await fixture.collector.quota.reserve({
    ...{ tenantId, jobId, owner: 'dead', apiKeyId: randomUUID(), model: 'guesslang', scopes: [], holdTtlMs: 60_000 },
    ...{ amounts: { tokens: 3, nanoUsd: 0 }, facts: JSON.stringify({ jobId, expiresAtMs: Date.now() }), idempotency },
  });
  expect(outcome.outcome).toBe('reserved');
  return jobId;
}

describe('a job that was reserved and never accepted', () => {
  it('is forgotten by a load, and the next request with its key is the first one', async () => {
    const key = await createTenant(gateway.url, 'never');
    const loads = await submit(key);
    const idempotencyKey = randomUUID();
    const dead = await reserveAndDie('never', idempotencyKey);
    expect(await heldTokens(key)).toBe(INPUT.length + 3);
    await fixture.collector.recorded(idOf(loads));
    await fixture.collector.quota.unload('never');
    const first = await submit(key, idempotencyKey);
    const again = await submit(key, idempotencyKey);
    expect(again.body).toEqual(first.body);
    expect(idOf(first)).not.toBe(dead);
    await accepted('never', loads, first);
    expect(await heldTokens(key)).toBe(2 * INPUT.length);
  });

  it('is not published by a repeated request that was waiting for it while a load has dropped its hold', async () => {
    const key = await createTenant(gateway.url, 'doubt');
    const loads = await submit(key);
    await fixture.collector.recorded(idOf(loads));
    const idempotencyKey = randomUUID();
    const dead = await reserveAndDie('doubt', idempotencyKey);
    const waiting = submit(key, idempotencyKey);
    const hold = `${fixture.environment['SLUICE_KEY_PREFIX']}:{doubt}:quota`;
    while ((await redis.hget(hold, `h:${dead}`))?.startsWith('dead\n')) await sleep(5);
    await fixture.collector.quota.unload('doubt');
    const between = await submit(key);
    const answer = await waiting;
    expect(idOf(answer)).not.toBe(dead);
    await accepted('doubt', loads, between, answer);
    expect(await heldTokens(key)).toBe(3 * INPUT.length);
  });
});
