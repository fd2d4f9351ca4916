import type { Service } from './service.js';

/**
 * CPU for each job, in microseconds, as measured with limits on three scopes, money, events and the fence
 * (`npm run bench -- pipeline`, benchmarks/README.md).
 */
export const CPU_MICROS = { gateway: 227, collector: 121, rabbitmq: 249, postgresql: 70, redis: 58 } as const;

/** Share of a core that is planned to be in use. */
export const PLANNED_SHARE = 0.6;
/** Of a worker's, where its own backlog evens out what comes. */
export const PLANNED_WORKER_SHARE = 0.7;
/** Of everything that runs jobs or takes requests, so that one may fail. */
const LEAST = 2;

/** What a number of jobs a second needs. */
export interface Plan {
  readonly jobsPerSecond: number;
  /** Pods of two cores, for jobs such as those of the scenarios. */
  readonly workers: number;
  /** The same for single sentences. */
  readonly sentenceWorkers: number;
  /** Pods of one core: each is one thread. */
  readonly gateways: number;
  readonly collectors: number;
  /** Cores of each of three nodes: what one node needed for all, since each one has every message. */
  readonly rabbitmqCores: number;
  readonly postgresqlCores: number;
  /** Primaries: each is one thread. */
  readonly redis: number;
}

/** Jobs a second that a worker runs of a mix of jobs when it always has enough of them for full batches. */
export function jobsPerWorker(
  service: Pick<Service, 'processes' | 'batchTokens' | 'seconds'>,
  meanJob: { readonly texts: number; readonly tokens: number },
): number {
  const { texts, tokens } = meanJob;
  const jobs = service.batchTokens / tokens;
  return (service.processes * jobs) / service.seconds(jobs, jobs * texts, service.batchTokens);
}

/** Jobs a second that a worker runs, of either kind. */
export interface WorkerRates {
  readonly mixed: number;
  readonly sentences: number;
}

export function planFor(jobsPerSecond: number, perWorker: WorkerRates): Plan {
  const workers = (rate: number): number => Math.max(LEAST, Math.ceil(jobsPerSecond / rate / PLANNED_WORKER_SHARE));
  const cores = (micros: number): number => (jobsPerSecond * micros) / 1e6 / PLANNED_SHARE;
  return {
    jobsPerSecond,
    workers: workers(perWorker.mixed),
    sentenceWorkers: workers(perWorker.sentences),
    gateways: Math.max(LEAST, Math.ceil(cores(CPU_MICROS.gateway))),
    collectors: Math.max(LEAST, Math.ceil(cores(CPU_MICROS.collector))),
    rabbitmqCores: Math.max(1, Math.ceil(cores(CPU_MICROS.rabbitmq))),
    postgresqlCores: Math.max(1, Math.ceil(cores(CPU_MICROS.postgresql))),
    redis: Math.max(1, Math.ceil(cores(CPU_MICROS.redis))),
  };
}

export const PLANNED_RATES = [1, 10, 100, 1_000, 2_500, 5_000, 10_000] as const;
