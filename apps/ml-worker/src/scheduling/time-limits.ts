import type { QueuedText } from './running-job.js';

/** What a run may take at least before it is stopped: a machine under load, or one that stood still, is no reason. */
const LEAST_MS = 2_000;
/** How many times what was predicted a run may take, and how many times the slowest run of its model lately. */
const TIMES_PREDICTED = 20;
const TIMES_SLOWEST = 4;
/** Part of the whole time that slow runs of the last hour may make others have: with more, texts that never end would have the whole time again. */
const MOST_PROVEN = 1 / 4;

export interface TimeLimitsOptions {
  /** Longest that any run may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Processes that could take runs if they were all idle. */
  readonly processes: () => number;
}

/**
 * How long runs may take, and how many of them may take as long as any run may.
 *
 * A run that overran what runs like it take is stopped early, since a process that runs it answers nobody else, and its texts
 * run again by themselves: one that overruns by itself gets the whole time then, and only this decides. Such runs never take all
 * processes, so that whatever comes meanwhile is answered. Neither do those of models of which no run has ended yet, which are counted
 * by themselves: most are over at once, and must not wait behind texts that never end.
 */
export interface TimeLimits {
  /** The longest that a run may take that this text leads, in milliseconds. */
  limitMs(first: QueuedText, predictedMs: number): number;
  /** Whether a run that this text leads leaves a process to others. */
  mayBegin(first: QueuedText): boolean;
  /** Whether others go first, because texts that overran had processes for as long as others since. */
  shouldYield(first: QueuedText): boolean;
  /** A run begins that this text leads. Returns what is to be called when it has ended. */
  begin(first: QueuedText): () => void;
}

export function createTimeLimits({ timeoutMs, processes }: TimeLimitsOptions): TimeLimits {
  /** Runs under way that have the whole time. */
  const under = { suspects: 0, unknown: 0 };
  let yieldUntilMs = -Infinity;

  return {
    limitMs(first, predictedMs) {
      const { slowestMs, provenMs } = first.batching.cost;
      if (first.overran || slowestMs === undefined) return timeoutMs;
      const forProvenMs = Math.min(TIMES_SLOWEST * provenMs, MOST_PROVEN * timeoutMs);
      const usualMs = Math.max(TIMES_PREDICTED * predictedMs, TIMES_SLOWEST * slowestMs);
      return Math.min(timeoutMs, Math.max(LEAST_MS, usualMs, forProvenMs));
    },
    mayBegin(first) {
      const kind = longKindOf(first);
      return kind === undefined || under[kind] < Math.max(1, processes() - 1);
    },
    shouldYield: ({ overran }) => overran && performance.now() < yieldUntilMs,
    begin(first) {
      const kind = longKindOf(first);
      if (kind === undefined) return () => undefined;
      const beganMs = performance.now();
      under[kind] += 1;
      return () => {
        under[kind] -= 1;
        const nowMs = performance.now();
        if (first.overran) yieldUntilMs = Math.max(yieldUntilMs, nowMs + (nowMs - beganMs));
      };
    },
  };
}

/** Why a run that a text leads has the whole time; undefined when it has not. */
function longKindOf({ overran, batching: { cost } }: QueuedText): 'suspects' | 'unknown' | undefined {
  if (overran || cost.onlyOverran) return 'suspects';
  return cost.slowestMs === undefined ? 'unknown' : undefined;
}
