import { setTimeout as sleep } from 'node:timers/promises';
import { buildModels } from '@sluice/models';
import { closeClient, MODEL_DIR } from '@sluice/scripts';
import { Redis } from 'ioredis';
import { Pool } from 'undici';
import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare, type Metric } from '../harness/comparison.js';
import { describeConditions } from '../harness/conditions.js';
import { onPrivateServers } from '../harness/private-servers.js';
import type { BenchmarkResult, CaseResult } from '../harness/report.js';
import { runRounds } from '../harness/rounds.js';
import { serverVersions } from '../harness/server-versions.js';
import { percentiles } from '../harness/statistics.js';
import type { RequestTemplate } from '../load/load-plan.js';
import { startSluiceSide } from '../pipeline/sluice-side.js';

/** What one loss of Redis did to the jobs that were being submitted. */
export interface RecoveryRound {
  /** From the loss to the first 202 of a job that was sent after it, in milliseconds. */
  readonly firstMs: number;
  /** From the loss until every tenant has been admitted again, in milliseconds. */
  readonly allMs: number;
  /** Answers other than 202 between. */
  readonly refused: number;
}

const METRICS: readonly Metric<RecoveryRound>[] = [
  { title: 'loss → first admission, ms', better: 'less', of: ({ firstMs }) => firstMs },
  { title: 'loss → all 16 tenants, ms', better: 'less', of: ({ allMs }) => allMs },
  { title: 'refused meanwhile', better: 'none', of: ({ refused }) => refused },
];

const ROUNDS = 9;
const SETTLE_MS = 1_500;
const TIME_LIMIT_MS = 30_000;
const PROBE_MS = 5;
const PER_SECOND = 500;

const NOTES = [
  'FLUSHALL; the tenants are then loaded from PostgreSQL behind the fence. One gateway, worker and collector.',
  `idle: each of the 16 tenants asks every ${PROBE_MS} ms until it is admitted. busy: ${PER_SECOND} further jobs/s.`,
];

/** How long nobody is admitted after Redis has lost everything, when nothing else happens and under load. */
export async function runRecovery(options: BenchmarkOptions): Promise<BenchmarkResult> {
  await buildModels({ directory: MODEL_DIR, report: options.report });
  return onPrivateServers(options, async ({ environment }, directory) => {
    const conditions = describeConditions(options.command, await serverVersions(environment));
    const side = await startSluiceSide({ environment, directory });
    await closeClient();
    const redis = new Redis(environment['SLUICE_REDIS_URL'] ?? '');
    const { origin, pathname } = new URL(side.url);
    const pool = new Pool(origin, { connections: 64 });
    const submit = (template: RequestTemplate | undefined): Promise<number> => send(pool, pathname, template);
    try {
      const cases = [await runCase({ templates: side.templates, submit, redis }, options)];
      return { benchmark: 'recovery', conditions, notes: NOTES, cases };
    } finally {
      redis.disconnect();
      await pool.close();
      await side.stop();
    }
  });
}

interface Rig {
  readonly templates: readonly RequestTemplate[];
  readonly submit: (template: RequestTemplate | undefined) => Promise<number>;
  readonly redis: Redis;
}

async function runCase(
  rig: Rig,
  { quick, rounds = quick ? 1 : ROUNDS, report, signal }: BenchmarkOptions,
): Promise<CaseResult> {
  const sides = [
    { name: 'idle', perSecond: 0 },
    { name: 'busy', perSecond: PER_SECOND },
  ] as const;
  const figures = await runRounds({
    sides,
    rounds,
    warmUps: 1,
    measure: ({ perSecond }) => loseOnce(rig, perSecond, signal),
    report: ({ side, round, figures: { firstMs, allMs } }) =>
      report(`round ${round}, ${side.name}: first after ${firstMs.toFixed(0)} ms, all after ${allMs.toFixed(0)} ms`),
  });
  const { idle = [], busy = [] } = figures;
  const slowest = percentiles(busy.map(({ firstMs }) => firstMs)).p99;
  report(`busy, slowest first admission: ${slowest.toFixed(0)} ms`);
  return { name: 'FLUSHALL', rounds: figures, comparisons: compare(METRICS, idle, busy) };
}

async function loseOnce({ templates, submit, redis }: Rig, perSecond: number, signal: AbortSignal) {
  const background = new AbortController();
  const load = perSecond > 0 ? submitSteadily({ templates, submit, perSecond, signal: background.signal }) : undefined;
  try {
    await sleep(SETTLE_MS, undefined, { signal });
    await redis.flushall();
    const lostAt = performance.now();
    let refused = 0;
    const admitted = await Promise.all(
      templates.map(async (template) => {
        while (performance.now() - lostAt < TIME_LIMIT_MS) {
          signal.throwIfAborted();
          if ((await submit(template)) === 202) return performance.now() - lostAt;
          refused += 1;
          await sleep(PROBE_MS);
        }
        throw new Error(`a tenant was not admitted within ${TIME_LIMIT_MS} ms after the loss`);
      }),
    );
    return { firstMs: Math.min(...admitted), allMs: Math.max(...admitted), refused };
  } finally {
    background.abort();
    await load;
  }
}

interface Steadily extends Omit<Rig, 'redis'> {
  readonly perSecond: number;
  readonly signal: AbortSignal;
}

/** Submits by the clock, whatever the answers are, until the signal aborts. */
async function submitSteadily({ templates, submit, perSecond, signal }: Steadily): Promise<void> {
  const startedAt = performance.now();
  const open = new Set<Promise<unknown>>();
  for (let sent = 0; !signal.aborted; await sleep(1)) {
    for (; sent < ((performance.now() - startedAt) / 1000) * perSecond; sent++) {
      const answer = submit(templates[sent % templates.length])
        .catch(() => undefined)
        .finally(() => open.delete(answer));
      open.add(answer);
    }
  }
  await Promise.all(open);
}

async function send(pool: Pool, path: string, template: RequestTemplate | undefined): Promise<number> {
  if (!template) throw new Error('there is no tenant');
  const { statusCode, body } = await pool.request({ method: 'POST', path, ...template });
  await body.dump();
  return statusCode;
}
