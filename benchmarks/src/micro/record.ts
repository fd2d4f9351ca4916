import { jobIdTimeMs, newJobId, type CompletedMessage } from '@sluice/contracts';
import { createTestDatabase } from '@sluice/local-services';
import { closeRedis, connectRedis, createQuota, redisReady, type Quota } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { CONFIG_DIR, prepareDatabase } from '@sluice/scripts';
import { createStore, type AcceptedFact, type Store } from '@sluice/store';
import pg from 'pg';
import { readCpuTimes } from '../harness/cpu.js';
import { sourceFile } from '../source-file.js';
import type { MicroBenchmark } from './micro.js';
import type { OperationSide } from './operations.js';
import { API_KEY, loadTenants, MODEL, READY_TIMEOUT_MS, reservation, TOKENS, twoLimits } from './reserving.js';

/** Jobs in a batch, each an accepted and a completed fact: 500 facts, a full batch of the collector. */
const JOBS = 250;
const BATCHES = 160;
const QUICK_BATCHES = 8;
const STATEMENT_TIMEOUT_MS = 15_000;
/** As many as the collector has under way. */
const IN_FLIGHT = 2;

/** The collector's work on a batch of facts beside a bare insert of as many rows. */
export const recordBenchmark: MicroBenchmark = {
  name: 'record',
  async prepare({ environment, servers }, { quick }) {
    const logger = createLogger({ app: 'benchmark', level: 'silent' });
    const database = await createTestDatabase(environment['SLUICE_POSTGRES_URL'] ?? '');
    await prepareDatabase({ url: database.url, configDir: CONFIG_DIR, logger });
    const store = createStore({
      url: database.url,
      applicationName: 'benchmark',
      poolSize: IN_FLIGHT,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      logger,
    });
    await store.start();
    await store.ensurePartitions();
    const pool = new pg.Pool({ connectionString: database.url, max: IN_FLIGHT });
    await pool.query(await sourceFile('sql/bare-create-table.sql'));
    const redis = connectRedis({ url: environment['SLUICE_REDIS_URL'] ?? '', name: 'benchmark', logger });
    await redisReady(redis, READY_TIMEOUT_MS);
    const quota = createQuota({ redis, keyPrefix: 'bench', logger });
    const load = {
      count: quick ? QUICK_BATCHES : BATCHES,
      inFlight: IN_FLIGHT,
      serverMicros: async () => readCpuTimes({ postgres: [servers.postgres.pid ?? 0] })?.['postgres'] ?? NaN,
    };
    const bare = bareInsert(pool, await sourceFile('sql/bare-insert.sql'));
    return {
      cases: [
        { name: `recordFacts, batches of ${JOBS * 2} facts`, sides: [bare, recording(store)], load },
        {
          name: `recordFacts and settle, batches of ${JOBS * 2} facts (P9)`,
          sides: [bare, await recordingAndSettling(store, quota)],
          load,
        },
      ],
      notes: [
        `an operation is a batch of ${JOBS * 2} facts: ${JOBS} jobs accepted and completed.`,
        'bare: one unnest insert of as many rows into a table with the columns of the ledger and a primary key.',
        'recordFacts: ledger, jobs, results, prices and roll-up, partitioned, in one statement; settle: two limits.',
      ],
      async close() {
        await closeRedis(redis);
        await pool.end();
        await store.stop();
        await database.drop();
      },
    };
  },
};

interface Job {
  readonly tenantId: string;
  readonly jobId: string;
}

function jobsOf(tenants: readonly string[]): readonly Job[] {
  return Array.from({ length: JOBS }, (_, index) => ({
    tenantId: tenants[index % tenants.length] ?? '',
    jobId: newJobId(),
  }));
}

function bareInsert(pool: pg.Pool, text: string): OperationSide {
  return {
    name: 'bare',
    run() {
      const rows = jobsOf(['bench']).flatMap(({ jobId }) => [
        { jobId, phase: 1, state: null },
        { jobId, phase: 2, state: 'succeeded' },
      ]);
      const values = [
        rows.map(({ jobId }) => jobId),
        rows.map(({ phase }) => phase),
        rows.map(({ jobId }) => jobIdTimeMs(jobId)),
        rows.map(() => 'bench'),
        rows.map(() => API_KEY),
        rows.map(() => MODEL),
        rows.map(({ state }) => state),
        rows.map(() => TOKENS),
      ];
      return pool.query({ name: 'bare', text, values });
    },
  };
}

function acceptedFact({ tenantId, jobId }: Job): AcceptedFact {
  return {
    ...{ jobId, tenantId, apiKeyId: API_KEY, model: MODEL, class: 'standard' },
    ...{ inputTokens: TOKENS, maxOutputTokens: 0, reservedTokens: TOKENS, reservedNanoUsd: 1_250 },
    expiresAtMs: jobIdTimeMs(jobId) + 3_600_000,
    metadata: { source: 'benchmark' },
  };
}

function completedFact({ tenantId, jobId }: Job): CompletedMessage {
  const atMs = jobIdTimeMs(jobId);
  return {
    ...{ jobId, tenantId, apiKeyId: API_KEY, model: MODEL, class: 'standard', state: 'succeeded' },
    usage: { inputTokens: TOKENS, outputTokens: 0, cachedTokens: 0 },
    ...{ reservedTokens: TOKENS, reservedNanoUsd: 1_250, modelVersion: '1', attempt: 1 },
    output: { task: 'text-classification', classifications: [[{ label: 'Python', score: 0.9 }]] },
    ...{ startedAtMs: atMs, finishedAtMs: atMs + 1 },
  };
}

function record(store: Store, jobs: readonly Job[]) {
  return store.recordFacts(
    jobs.flatMap((job) => [
      { type: 'accepted' as const, message: acceptedFact(job) },
      { type: 'completed' as const, message: completedFact(job) },
    ]),
  );
}

function recording(store: Store): OperationSide {
  const tenants = Array.from({ length: 16 }, (_, index) => `bench-${index}`);
  return { name: 'sluice', run: () => record(store, jobsOf(tenants)) };
}

async function recordingAndSettling(store: Store, quota: Quota): Promise<OperationSide> {
  const scopes = twoLimits();
  const tenants = await loadTenants(quota, 'recorded', scopes);
  const batches = new Map<number, readonly Job[]>();
  return {
    name: 'sluice',
    async prepare(from, to) {
      for (let index = from; index < to; index++) {
        const jobs = jobsOf(tenants);
        batches.set(index, jobs);
        await Promise.all(jobs.map(({ tenantId, jobId }) => quota.reserve(reservation(tenantId, jobId, scopes))));
      }
    },
    async run(index) {
      const jobs = batches.get(index) ?? [];
      batches.delete(index);
      const { newlyCompleted } = await record(store, jobs);
      await quota.settle(
        jobs.map((job) => ({
          ...job,
          tokens: TOKENS,
          nanoUsd: Number(newlyCompleted.get(job.jobId) ?? 0n),
          outputTokens: 0,
          state: 'succeeded' as const,
        })),
      );
    },
  };
}
