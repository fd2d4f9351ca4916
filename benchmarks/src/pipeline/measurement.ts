import { cpuBetween, readCpuTimes, type Roles } from '../harness/cpu.js';
import type { Round } from '../harness/figures.js';
import { runLoad } from '../load/load-generator.js';
import type { Pace } from '../load/load-plan.js';
import type { Side } from './side.js';

/** One way of loading the pipelines. */
export interface Case {
  readonly name: string;
  readonly pace: Pace;
  /** Requests in a round. */
  readonly requests: number;
}

const TIME_LIMIT_MS = 120_000;

/**
 * Submits the jobs of one round and waits until every one of them is billed.
 *
 * @throws Error when an answer is not 202, or when fewer or more jobs are billed than were accepted: such a round has no
 * figures.
 */
export async function measureRound(side: Side, { pace, requests }: Case, servers: Roles): Promise<Round> {
  const roles = { ...side.roles, ...servers };
  const cpuBefore = readCpuTimes(roles);
  const sinceMs = Date.now();
  const load = await runLoad({ url: side.url, pace, requests, timeLimitMs: TIME_LIMIT_MS, templates: side.templates });
  if (load.accepted !== requests) {
    throw new Error(`${side.name} refused ${requests - load.accepted} of ${requests}: ${JSON.stringify(load.refused)}`);
  }
  const { billedMs, lastMs } = await side.books.drained({ sinceMs, count: requests, timeLimitMs: TIME_LIMIT_MS });
  const cpuAfter = readCpuTimes(roles);
  return {
    jobs: requests,
    jobsPerSecond: requests / ((lastMs - load.startedAtMs) / 1000),
    submitMs: load.submitMs,
    billedMs,
    ...(cpuBefore && cpuAfter && { cpuMicrosPerJob: perJob(cpuBetween(cpuBefore, cpuAfter), requests) }),
    loadGeneratorCores: load.cpuMicros / 1000 / Math.max(1, load.endedAtMs - load.startedAtMs),
    ...(load.lateMs && { lateMs: load.lateMs }),
  };
}

function perJob(cpu: Readonly<Record<string, number>>, jobs: number): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(cpu).map(([role, micros]) => [role, micros / jobs]));
}
