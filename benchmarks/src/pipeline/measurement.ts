import { startCpuClock } from '../harness/cpu-clock.js';
import type { CpuTimes, Roles } from '../harness/cpu.js';
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

export interface Measuring {
  /** The servers, which both sides share. */
  readonly servers: Roles;
  /** Ends the round early, with an error. */
  readonly signal: AbortSignal;
}

const TIME_LIMIT_MS = 120_000;

/**
 * Submits the jobs of one round and waits until every one of them is billed.
 *
 * @throws Error when an answer is not 202, or when fewer or more jobs are billed than were accepted: such a round has no
 * figures.
 */
export async function measureRound(
  side: Side,
  { pace, requests }: Case,
  { servers, signal }: Measuring,
): Promise<Round> {
  signal.throwIfAborted();
  const cpu = startCpuClock({ ...side.roles, ...servers });
  const sinceMs = Date.now();
  const { url, templates } = side;
  const load = await runLoad({ url, pace, requests, timeLimitMs: TIME_LIMIT_MS, templates }, signal);
  if (load.accepted !== requests) {
    throw new Error(`${side.name} refused ${requests - load.accepted} of ${requests}: ${JSON.stringify(load.refused)}`);
  }
  const expected = { sinceMs, count: requests, timeLimitMs: TIME_LIMIT_MS, signal };
  const { billedMs, lastMs } = await side.books.drained(expected);
  const used = cpu.read();
  return {
    jobs: requests,
    jobsPerSecond: requests / ((lastMs - load.startedAtMs) / 1000),
    submitMs: load.submitMs,
    billedMs,
    ...(used && {
      cpuMicrosPerJob: mapValues(used.roles, (micros) => micros / requests),
      otherCores: Math.max(0, used.restMicros - load.cpuMicros) / used.elapsedMicros,
    }),
    loadGeneratorCores: load.cpuMicros / 1000 / Math.max(1, load.endedAtMs - load.startedAtMs),
    ...(load.lateMs && { lateMs: load.lateMs }),
  };
}

function mapValues(values: CpuTimes, change: (value: number) => number): CpuTimes {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value)]));
}
