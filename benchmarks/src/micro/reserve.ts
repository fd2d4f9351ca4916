import { newJobId } from '@sluice/contracts';
import { closeRedis, connectRedis, createQuota, redisReady, type Quota, type ScopedLimits } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { Redis } from 'ioredis';
import { sourceFile } from '../source-file.js';
import type { MicroBenchmark, MicroCase } from './micro.js';
import type { OperationSide } from './operations.js';
import {
  allLimits,
  HOLD_MS,
  loadTenants,
  READY_TIMEOUT_MS,
  reservation,
  TENANTS,
  TOKENS,
  twoLimits,
} from './reserving.js';

const COUNT = 60_000;
const QUICK_COUNT = 2_000;
const IN_FLIGHT = 64;
const SETTLE_BATCH = 500;

/** The reserve and settle scripts beside a script that does nothing and beside the floor's own reserve. */
export const reserveBenchmark: MicroBenchmark = {
  name: 'reserve',
  async prepare({ environment }, { quick }) {
    const url = environment['SLUICE_REDIS_URL'] ?? '';
    const logger = createLogger({ app: 'benchmark', level: 'silent' });
    const redis = connectRedis({ url, name: 'benchmark', logger });
    await redisReady(redis, READY_TIMEOUT_MS);
    const plain = new Redis(url);
    const quota = createQuota({ redis, keyPrefix: 'bench', logger });
    const bare = await bareScript(plain);
    const reference = await referenceScript(plain);
    const load = {
      count: quick ? QUICK_COUNT : COUNT,
      inFlight: IN_FLIGHT,
      serverMicros: () => redisCpuMicros(plain),
    };
    const two = await reserving(quota, 'two', twoLimits());
    const all = await reserving(quota, 'all', allLimits());
    const settleLoad = { ...load, count: load.count / SETTLE_BATCH, inFlight: 2 };
    const cases: readonly MicroCase[] = [
      { name: 'reserve, two limits of the tenant, 64 in flight', sides: [bare, two], load },
      { name: 'the same beside the reference script', sides: [reference, two], load },
      { name: 'reserve, all seven limits on three scopes, 64 in flight', sides: [bare, all], load },
      { name: 'the same beside the reference script (P8)', sides: [reference, all], load },
      {
        name: `settle, all limits, pipelines of ${SETTLE_BATCH}`,
        sides: [await barePipeline(plain), await settling(quota, allLimits())],
        load: settleLoad,
      },
    ];
    return {
      cases,
      notes: [
        'bare: EVALSHA of a script that returns 1. reference: three windows, a hold and an expiry, as in the floor.',
        'client and server share the cores; every operation is a new job; holds are never ended except by settle.',
      ],
      async close() {
        plain.disconnect();
        await closeRedis(redis);
      },
    };
  },
};

/** CPU time of the Redis process so far. */
export async function redisCpuMicros(redis: Redis): Promise<number> {
  const information = await redis.info('cpu');
  const seconds = (field: string): number => Number(new RegExp(`${field}:([0-9.]+)`).exec(information)?.[1] ?? NaN);
  return (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6;
}

type Command = (...keysAndArguments: (string | number)[]) => Promise<unknown>;

async function bareScript(redis: Redis): Promise<OperationSide> {
  redis.defineCommand('bare', { numberOfKeys: 1, lua: await sourceFile('lua/bare-1.lua') });
  // n.b. defineCommand adds the method at run time; the types cannot know it.
  const { bare } = bindCommands(redis);
  return { name: 'bare', run: (index) => bare(`bench:{${index % TENANTS}}:bare`) };
}

async function barePipeline(redis: Redis): Promise<OperationSide> {
  await bareScript(redis);
  return {
    name: 'bare',
    run(index) {
      const pipeline = redis.pipeline();
      const { bare } = bindCommands(pipeline);
      for (let i = 0; i < SETTLE_BATCH; i++) void bare(`bench:{${(index + i) % TENANTS}}:bare`);
      return pipeline.exec();
    },
  };
}

async function referenceScript(redis: Redis): Promise<OperationSide> {
  redis.defineCommand('reference', { numberOfKeys: 4, lua: await sourceFile('lua/floor-reserve-4.lua') });
  const { reference } = bindCommands(redis);
  const keys = (tenant: number, jobId: string): readonly string[] => {
    const base = `reference:{${tenant}}`;
    return [`${base}:limits`, `${base}:counters`, `${base}:expiries`, `${base}:hold:${jobId}`];
  };
  for (let tenant = 0; tenant < TENANTS; tenant++) {
    await redis.hset(keys(tenant, '')[0] ?? '', { minute: 1e12, hour: 1e12, day: 1e12 });
  }
  return {
    name: 'reference',
    run(index) {
      const jobId = newJobId();
      return reference(...keys(index % TENANTS, jobId), Date.now(), TOKENS, jobId, HOLD_MS);
    },
  };
}

function bindCommands(client: object): { readonly bare: Command; readonly reference: Command } {
  const commands = client as Record<'bare' | 'reference', Command>;
  return {
    bare: (...args) => commands.bare(...args),
    reference: (...args) => commands.reference(...args),
  };
}

async function reserving(quota: Quota, name: string, scopes: readonly ScopedLimits[]): Promise<OperationSide> {
  const tenants = await loadTenants(quota, name, scopes);
  return {
    name: 'sluice',
    async run(index) {
      const { outcome } = await quota.reserve(reservation(tenants[index % TENANTS] ?? '', newJobId(), scopes));
      if (outcome !== 'reserved') throw new Error(`a reserve was answered with ${outcome}`);
    },
  };
}

/** Settles jobs that were reserved before the clock started. */
async function settling(quota: Quota, scopes: readonly ScopedLimits[]): Promise<OperationSide> {
  const tenants = await loadTenants(quota, 'settled', scopes);
  const batches = new Map<number, readonly { tenantId: string; jobId: string }[]>();
  return {
    name: 'sluice',
    async prepare(from, to) {
      for (let index = from; index < to; index++) {
        const jobs = Array.from({ length: SETTLE_BATCH }, (_, i) => ({
          tenantId: tenants[i % TENANTS] ?? '',
          jobId: newJobId(),
        }));
        batches.set(index, jobs);
        await Promise.all(jobs.map(({ tenantId, jobId }) => quota.reserve(reservation(tenantId, jobId, scopes))));
      }
    },
    async run(index) {
      const jobs = batches.get(index) ?? [];
      batches.delete(index);
      const outcomes = await quota.settle(
        jobs.map((job) => ({ ...job, tokens: TOKENS, nanoUsd: 1_250, outputTokens: 0, state: 'succeeded' as const })),
      );
      if (!outcomes.every((outcome) => outcome === 'settled')) throw new Error('a job was not settled');
    },
  };
}
