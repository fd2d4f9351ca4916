import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  createBrokerConnection,
  createFence,
  createPublisher,
  type BrokerConnection,
  type Fence,
  type Publisher,
} from '@sluice/broker';
import { plansFileSchema } from '@sluice/contracts';
import { closeRedis, connectRedis, createQuota, redisReady, type RedisConnection } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { createMetrics } from '@sluice/telemetry';
import type { Principal } from '@sluice/store';
import { createTenantLimits } from '../src/tenant-limits.js';
import { createGatewayMetrics } from '../src/gateway-metrics.js';
import { createTenantLoader, type TenantLoader } from '../src/tenant-loader.js';
import { createFixture, type Fixture } from './gateway-fixture.js';

const LOADERS = 10;
const HOUR_MS = 3_600_000;
const MODELS = ['guesslang'];
const logger = createLogger({ app: 'test', level: 'silent' });
const now = (): number => Date.now();
const tenantLimits = createTenantLimits({
  plans: plansFileSchema.parse({
    plans: { demo: { limits: { tokensPerMonth: 100 }, perModel: { '*': { tokensPerDay: 50 } } } },
  }),
  now,
});
const principalOf = (tenantId: string): Principal => ({
  ...{ tenantId, apiKeyId: randomUUID(), plan: 'demo', timeZone: 'UTC', overrides: {}, keyLimits: {} },
});

/** The part of a gateway that loads tenants, with connections of its own. */
interface LoaderProcess {
  readonly loader: TenantLoader;
  readonly redis: RedisConnection;
  readonly connection: BrokerConnection;
  readonly publisher: Publisher;
  readonly fence: Fence;
}

let fixture: Fixture;
let processes: readonly LoaderProcess[];
/** Tenants whose use was read, once for each load. */
const reads: string[] = [];
/** What fences wait for, and who is told when one is asked for. */
const gate = { opened: Promise.resolve(), onPass: (): void => undefined };

/** Lets no fence pass until `open`; `reached` resolves when one is asked for. */
function closeGate() {
  let open = (): void => undefined;
  gate.opened = new Promise((resolve) => (open = resolve));
  const reached = new Promise<void>((resolve) => (gate.onPass = resolve));
  return { open: () => open(), reached };
}

async function startLoader(fenceTimeoutMs: number): Promise<LoaderProcess> {
  const { store } = fixture.collector;
  const environment = fixture.environment;
  const name = 'loader';
  const redis = connectRedis({ url: environment['SLUICE_REDIS_URL'] ?? '', name, logger });
  const quota = createQuota({ redis, keyPrefix: environment['SLUICE_KEY_PREFIX'] ?? '', logger });
  const connection = createBrokerConnection({ url: environment['SLUICE_RABBITMQ_URL'] ?? '', name, logger });
  const publisher = createPublisher({ connection, logger, deadlineMs: 10_000 });
  const registry = {
    register: (facts: Parameters<typeof store.registerFenceMember>[0]) => store.registerFenceMember(facts),
    members: () => store.fenceMembers(),
    forget: (memberId: string) => store.forgetFenceMember(memberId),
  };
  const fence = createFence({ connection, publisher, registry, timeoutMs: fenceTimeoutMs, logger });
  const loader = createTenantLoader({
    ...{ tenantLimits, models: () => MODELS, quota, now, waitMs: 60_000, idempotencyTtlMs: HOUR_MS, logger },
    metrics: createGatewayMetrics(createMetrics()),
    fence: {
      async pass() {
        gate.onPass();
        await gate.opened;
        await fence.pass();
      },
    },
    store: {
      findTenant: (id) => store.findTenant(id),
      listApiKeys: (id) => store.listApiKeys(id),
      recentKeys: (query) => store.recentKeys(query),
      quotaFacts(query) {
        reads.push(query.tenantId);
        return store.quotaFacts(query);
      },
    },
  });
  await Promise.all([redisReady(redis, 10_000), connection.start()]);
  await publisher.start();
  await fence.start();
  return { loader, redis, connection, publisher, fence };
}

async function stop({ redis, connection, publisher, fence }: LoaderProcess): Promise<void> {
  await fence.stop();
  await publisher.stop();
  await connection.stop();
  await closeRedis(redis);
}

beforeAll(async () => {
  fixture = await createFixture();
  processes = await Promise.all(Array.from({ length: LOADERS }, () => startLoader(10_000)));
}, 60_000);
afterAll(async () => {
  await Promise.all(processes.map(stop));
  await fixture.close();
});

const readsOf = (tenantId: string): number => reads.filter((read) => read === tenantId).length;
const statusOf = (tenantId: string) =>
  fixture.collector.quota.status(tenantId, tenantLimits.ofModels(principalOf(tenantId), MODELS));
const aliveUntilMs = (tenantId: string) =>
  processes[0]?.redis.hget(`${fixture.environment['SLUICE_KEY_PREFIX']}:{${tenantId}}:load`, 'until');
const loadEverywhere = (principal: Principal) => Promise.all(processes.map(({ loader }) => loader.load(principal)));

describe('ten gateways', () => {
  it('that miss a tenant at the same moment load it once', async () => {
    const principal = principalOf('missed');
    for (let round = 1; round <= 5; round++) {
      await fixture.collector.quota.unload('missed');
      await loadEverywhere(principal);
      expect(await statusOf('missed')).toHaveLength(2);
      expect(readsOf('missed')).toBe(round);
    }
    await loadEverywhere(principal);
    expect(readsOf('missed')).toBe(5);
  });

  it('that miss many tenants load each of them once', async () => {
    const tenants = Array.from({ length: 20 }, (_, index) => `many-${index}`);
    await Promise.all(tenants.map((tenantId) => loadEverywhere(principalOf(tenantId))));
    expect(tenants.map(readsOf)).toEqual(tenants.map(() => 1));
  });

  it('do not wait for ever for one that began and died', async () => {
    await fixture.collector.quota.beginLoad('orphan');
    await loadEverywhere(principalOf('orphan'));
    expect(readsOf('orphan')).toBe(1);
  });

  it('go on when one of them begins and fails', async () => {
    const hasty = await startLoader(1);
    await expect(hasty.loader.load(principalOf('failed'))).rejects.toMatchObject({ code: 'quota_unavailable' });
    expect(readsOf('failed')).toBe(0);
    await loadEverywhere(principalOf('failed'));
    expect(readsOf('failed')).toBe(1);
    await stop(hasty);
  });

  it('wait for one that takes long and gives signs of life', async () => {
    const { open, reached } = closeGate();
    const loads = loadEverywhere(principalOf('long'));
    await reached;
    const alive = await aliveUntilMs('long');
    while ((await aliveUntilMs('long')) === alive) await sleep(20);
    open();
    await loads;
    expect(readsOf('long')).toBe(1);
  });

  it('load the limits that a key still has for one of them, and those that it has by now', async () => {
    const { store, quota } = fixture.collector;
    const tenantId = 'changed';
    await store.upsertTenant({ tenantId, plan: 'demo', timeZone: 'UTC' });
    const facts = { tenantId, name: 'key', prefix: 'slk_test', keyHash: Buffer.alloc(32, 7) };
    const { apiKeyId } = await store.createApiKey({ ...facts, limits: { tokensPerMonth: 7 } });
    const before: Principal = { ...principalOf(tenantId), apiKeyId, keyLimits: { tokensPerDay: 9 } };
    const after: Principal = { ...before, keyLimits: { tokensPerMonth: 7 } };
    await loadEverywhere(before);
    await loadEverywhere(after);
    expect(await quota.status(tenantId, tenantLimits.ofModels(before, MODELS))).toHaveLength(3);
    expect(await quota.status(tenantId, tenantLimits.ofModels(after, MODELS))).toHaveLength(3);
    expect(readsOf(tenantId)).toBe(1);
  });

  it('begin anew when the load is overtaken', async () => {
    const { open, reached } = closeGate();
    const loads = loadEverywhere(principalOf('unlucky'));
    await reached;
    await fixture.collector.quota.unload('unlucky');
    open();
    await loads;
    expect(await statusOf('unlucky')).toHaveLength(2);
    expect(readsOf('unlucky')).toBe(2);
  });
});
