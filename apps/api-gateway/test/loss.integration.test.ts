import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeRedis, connectRedis, redisReady } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { createFixture, createTenant, send, type Answer, type Fixture, type Gateway } from './gateway-fixture.js';

const PLANS = `
monthly: { limits: { tokensPerMonth: 10000 }, perApiKey: { tokensPerDay: 10000 }, perModel: { '*': { tokensPerDay: 10000 } } }
busy: { limits: { concurrentJobs: 40 } }`;
/** Of its own for this file, which flushes it. */
const REDIS_DATABASE = 7;

let fixture: Fixture;
let gateways: readonly Gateway[];
let redis: ReturnType<typeof connectRedis>;

beforeAll(async () => {
  fixture = await createFixture({ plans: PLANS, redisDatabase: REDIS_DATABASE });
  const brief = { SLUICE_LOAD_WAIT: '500ms' };
  gateways = await Promise.all([fixture.startGateway(brief), fixture.startGateway(brief)]);
  const logger = createLogger({ app: 'test', level: 'silent' });
  redis = connectRedis({ url: fixture.environment['SLUICE_REDIS_URL'] ?? '', name: 'test', logger });
  await redisReady(redis, 5_000);
}, 60_000);
afterAll(async () => {
  await closeRedis(redis);
  await fixture.close();
});

const url = (index = 0): string => gateways[index % gateways.length]?.url ?? '';

function submit(key: string, input: string, index = 0, idempotencyKey?: string): Promise<Answer> {
  const headers = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey };
  const body = JSON.stringify({ model: 'guesslang', input });
  return send(url(index), '/v1/jobs', { method: 'POST', body, key, headers });
}

const codeOf = ({ body }: Answer): string => (body as { code: string }).code;
const idOf = ({ body }: Answer): string => (body as { id: string }).id;

async function acceptedOf(tenantId: string): Promise<readonly string[]> {
  const ids = fixture.collector.accepted.filter((fact) => fact.tenantId === tenantId).map(({ jobId }) => jobId);
  return [...new Set(ids)];
}

/** Submits from many clients over both gateways until each is refused by a limit; counts what was accepted. */
async function exhaust(key: string, input: string, onAccepted: (count: number) => Promise<void>): Promise<number> {
  let accepted = 0;
  const client = async (index: number): Promise<void> => {
    for (;;) {
      const answer = await submit(key, input, index);
      if (answer.status === 429) return;
      if (answer.status === 202) await onAccepted(++accepted);
      else expect(codeOf(answer)).toBe('quota_unavailable');
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, index) => client(index)));
  return accepted;
}

describe('when Redis forgets everything', () => {
  it('under load, with facts still on their way, a quota is kept exactly', async () => {
    const key = await createTenant(url(), 'monthly', 'monthly');
    let probes = 0;
    const accepted = await exhaust(key, 'x'.repeat(100), async (count) => {
      if (count % 25 !== 0) return;
      // The facts of the last jobs wait in the collector while Redis is lost and the others go on submitting.
      fixture.collector.holdBack();
      await redis.flushdb();
      const probe = await submit(key, 'x'.repeat(100));
      if (probe.status === 202) probes += 1;
      fixture.collector.release();
    });
    expect(accepted + probes).toBe(100);
    expect(await acceptedOf('monthly')).toHaveLength(100);
    const { body } = await send(url(), '/v1/quota?model=guesslang', { key });
    expect((body as { limits: object[] }).limits).toMatchObject([
      { name: 'tokens-per-month', used: 0, held: 10_000, remaining: 0 },
      { name: 'api-key:tokens-per-day', used: 0, held: 10_000, remaining: 0 },
      { name: 'model:tokens-per-day', used: 0, held: 10_000, remaining: 0 },
    ]);
  });

  it('again and again, no more jobs are open than allowed', async () => {
    const key = await createTenant(url(), 'busy', 'busy');
    const accepted = await exhaust(key, 'x', async (count) => {
      if (count % 5 === 0) await redis.flushdb();
    });
    expect(accepted).toBe(40);
    expect(await acceptedOf('busy')).toHaveLength(40);
  });

  it('an Idempotency-Key still means the same job, also while its fact is on its way', async () => {
    const key = await createTenant(url(), 'again', 'monthly');
    const idempotencyKey = randomUUID();
    fixture.collector.holdBack();
    const first = await submit(key, 'hello', 0, idempotencyKey);
    expect(first.status).toBe(202);
    await redis.flushdb();
    const early = await submit(key, 'hello', 1, idempotencyKey);
    expect(codeOf(early)).toBe('quota_unavailable');
    expect(early.headers.get('retry-after')).toBe('1');
    fixture.collector.release();
    await fixture.collector.recorded(idOf(first));

    let second = await submit(key, 'hello', 1, idempotencyKey);
    while (second.status === 503) second = await submit(key, 'hello', 1, idempotencyKey);
    expect(second.status).toBe(202);
    expect(second.body).toEqual(first.body);
    const clash = await submit(key, 'something else', 0, idempotencyKey);
    expect(codeOf(clash)).toBe('idempotency_key_reused');
    const other = await submit(key, 'hello', 0, randomUUID());
    expect(other.status).toBe(202);
    expect(idOf(other)).not.toBe(idOf(first));
    await fixture.collector.recorded(idOf(other));
    expect(await acceptedOf('again')).toHaveLength(2);
  });
});
