import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { clockMessageSchema, EXCHANGES, jobIdTimeMs, MESSAGE_TYPES } from '@sluice/contracts';
import { closeRedis, connectRedis, redisReady, redisServer, type RedisConnection } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import type { Message } from 'amqplib';
import { administer, createFixture, createTenant, send, type Fixture } from './gateway-fixture.js';

const HOUR = 3_600_000;

let fixture: Fixture;
let redis: RedisConnection;

beforeAll(async () => {
  fixture = await createFixture();
  const logger = createLogger({ app: 'test', level: 'silent' });
  redis = connectRedis({ url: fixture.environment['SLUICE_REDIS_URL'] ?? '', name: 'test', logger });
  await redisReady(redis, 5_000);
}, 60_000);
afterAll(async () => {
  await closeRedis(redis);
  await fixture.close();
});

const redisNowMs = async (): Promise<number> => Math.floor(await redisServer(redis).nowMs());

/** Settings of a process on a machine whose clock is wrong. */
function wrongClock(aheadMs: number): Readonly<Record<string, string>> {
  const code = `
    const True = Date;
    const now = () => True.now() + ${aheadMs};
    globalThis.Date = class extends True {
      constructor(...values) { super(...(values.length === 0 ? [now()] : values)); }
      static now() { return now(); }
    };`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
}

/** Hears what workers hear. */
async function listen(): Promise<{ next(): Promise<Message>; close(): Promise<void> }> {
  const channel = await fixture.amqp.createChannel();
  await channel.assertExchange(EXCHANGES.cancellations, 'fanout', { durable: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, EXCHANGES.cancellations, '');
  const waiting: ((message: Message) => void)[] = [];
  const heard: Message[] = [];
  await channel.consume(
    queue,
    (message) => {
      if (!message) return;
      const take = waiting.shift();
      if (take) take(message);
      else heard.push(message);
    },
    { noAck: true },
  );
  return {
    async next() {
      return heard.shift() ?? new Promise((resolve) => waiting.push(resolve));
    },
    close: () => channel.close(),
  };
}

describe('a gateway whose own clock is wrong', () => {
  it.each([HOUR, -HOUR])('tells workers again and again what that of Redis shows, %d ms off', async (aheadMs) => {
    const gateway = await fixture.startGateway({ ...wrongClock(aheadMs), SLUICE_CLOCK_INTERVAL: '50ms' });
    const workers = await listen();
    let lastMs = 0;
    for (let notice = 0; notice < 5; notice++) {
      const { properties, content } = await workers.next();
      expect(properties.type).toBe(MESSAGE_TYPES.clock);
      const told = clockMessageSchema.parse(JSON.parse(content.toString())).redisNowMs;
      expect(told).toBeGreaterThan(lastMs);
      expect(told).toBeLessThanOrEqual(await redisNowMs());
      lastMs = told;
    }
    await gateway.stop();
    await workers.close();
  });

  it.each([HOUR, -HOUR])('dates jobs and keys by that of Redis, %d ms off', async (aheadMs) => {
    const gateway = await fixture.startGateway(wrongClock(aheadMs));
    const tenantId = `tenant${aheadMs}`;
    const key = await createTenant(gateway.url, tenantId);
    const beganMs = await redisNowMs();
    const body = JSON.stringify({ model: 'guesslang', input: 'x' });
    const answer = await send(gateway.url, '/v1/jobs', { method: 'POST', body, key });
    expect(answer.status).toBe(202);
    const acceptedMs = jobIdTimeMs((answer.body as { id: string }).id);
    expect(Math.abs(acceptedMs - beganMs)).toBeLessThan(HOUR / 2);

    const expiresAt = (inMs: number) => ({ expiresAt: new Date(beganMs + inMs).toISOString() });
    const keys = `/tenants/${tenantId}/keys`;
    await expect(administer(gateway.url, 'POST', keys, expiresAt(HOUR / 2))).resolves.toMatchObject(
      expiresAt(HOUR / 2),
    );
    await expect(administer(gateway.url, 'POST', keys, expiresAt(-HOUR / 2))).rejects.toThrow('must be in the future');
    await gateway.stop();
  });
});
