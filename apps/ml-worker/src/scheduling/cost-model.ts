/**
 * What a run of B texts padded to L tokens takes, in milliseconds:
 * `perRun + perText·B + perToken·B·L + perPair·B·L² + crowding·(B·L)²`, no term below 0.
 *
 * The last one is why a batch can be too large: beyond some number of tokens the tensors of a layer no longer fit into the
 * cache, and each further token makes all others dearer.
 */
export interface CostCurve {
  readonly perRun: number;
  readonly perText: number;
  readonly perToken: number;
  /** Attention compares every token of a text with every other. */
  readonly perPair: number;
  readonly crowding: number;
}

/** What was measured of a model in a process of this machine. */
export interface MeasuredCost {
  readonly curve: CostCurve;
  /** The way to the process and back, in milliseconds. */
  readonly tripMs: number;
  /** What the slowest run took, in milliseconds; undefined when none was seen. */
  readonly slowestMs?: number | undefined;
}

/** What is assumed of a model that was not measured: its shape is that of a small encoder, the scale is learned. */
export const UNMEASURED: MeasuredCost = {
  curve: { perRun: 0.5, perText: 0, perToken: 0.04, perPair: 0, crowding: 2e-6 },
  tripMs: 0.2,
};

/**
 * The same for a model of tensors, of which nothing is known: an element may be worth any time. What counts is the scale, which
 * is learned.
 */
export const UNMEASURED_TENSORS: MeasuredCost = {
  curve: { perRun: 0.5, perText: 0, perToken: 1e-5, perPair: 0, crowding: 0 },
  tripMs: 0.2,
};

/** How much the latest run changes the correction. */
const LEARNING_RATE = 0.05;
/** A run that took longer than this many times what was predicted says something about the machine, not the model. */
const MOST_SURPRISE = 5;
/** What is left of the slowest run after each further one: half after 70. */
const SLOWEST_KEPT = 0.99;
/** When half is left of one that was stopped as too slow before, however many ran since: such a text may be rare. */
const PROVEN_HALF_LIFE_MS = 1_800_000;

/** Tells what runs of one model take in one process of this machine. Times are milliseconds and not below 0. */
export interface CostModel {
  /** What the session takes for `texts` texts, each padded to `length` tokens. */
  runMs(texts: number, length: number): number;
  /** What a run takes beside that: the way to the process and back, however many texts go. */
  readonly tripMs: number;
  /** Tokens of a run, padding included, at which a token is cheapest; Infinity when more are always better. */
  readonly bestTokens: number;
  /** Learns from a run: what it was predicted to take, what it took, and whether it was stopped as too slow before. */
  observe(predictedMs: number, realMs: number, wasStopped?: boolean): void;
  /** Learns that a run was stopped as too slow. */
  overran(): void;
  /** Real over predicted time, by what was observed lately; 1 at first. */
  readonly correction: number;
  /** What the slowest run lately took, less 1 % for each run since; undefined before the first one. */
  readonly slowestMs: number | undefined;
  /** What a run took that had been stopped as too slow before, less a half for each half hour since one took as long; 0 when there was none. */
  readonly provenMs: number;
  /** No run has ended yet but those that were stopped as too slow. */
  readonly onlyOverran: boolean;
  /** What runs take by what was observed lately. */
  readonly current: MeasuredCost;
  /** Begins anew with what was measured. */
  adopt(measured: MeasuredCost): void;
}

/** A cost model that begins with what was measured and follows the speed of the machine from there. */
export function createCostModel(first: MeasuredCost, now = () => performance.now()): CostModel {
  let { curve, tripMs, slowestMs } = first;
  let correction = 1;
  let overran = false;
  /** The slowest run that had been stopped before, and when one took as long. */
  let proven = { ms: 0, atMs: 0 };

  function provenMs(): number {
    return proven.ms && proven.ms * 2 ** ((proven.atMs - now()) / PROVEN_HALF_LIFE_MS);
  }

  function lasted(realMs: number, wasStopped: boolean): void {
    if (!(realMs >= 0)) return;
    slowestMs = Math.max(realMs, SLOWEST_KEPT * (slowestMs ?? 0));
    const leastMs = provenMs();
    if (realMs >= leastMs && (wasStopped || leastMs > 0)) proven = { ms: realMs, atMs: now() };
  }

  return {
    get tripMs() {
      return tripMs;
    },
    get slowestMs() {
      return slowestMs;
    },
    get provenMs() {
      return provenMs();
    },
    get onlyOverran() {
      return overran && slowestMs === undefined;
    },
    get correction() {
      return correction;
    },
    // Of tokens T in runs of T, what is shared falls as (perRun + trip) ÷ T and crowding grows as crowding · T.
    get bestTokens() {
      return Math.sqrt((curve.perRun + tripMs / correction) / curve.crowding);
    },
    get current() {
      const { perRun, perText, perToken, perPair, crowding } = curve;
      return {
        tripMs,
        slowestMs,
        curve: {
          perRun: correction * perRun,
          perText: correction * perText,
          perToken: correction * perToken,
          perPair: correction * perPair,
          crowding: correction * crowding,
        },
      };
    },
    runMs(texts, length) {
      const { perRun, perText, perToken, perPair, crowding } = curve;
      const tokens = texts * length;
      return correction * (perRun + perText * texts + (perToken + perPair * length + crowding * tokens) * tokens);
    },
    overran() {
      overran = true;
    },
    observe(predictedMs, realMs, wasStopped = false) {
      lasted(realMs, wasStopped);
      if (!(predictedMs > 0 && realMs >= 0)) return;
      const surprise = Math.min(MOST_SURPRISE, realMs / predictedMs);
      // n.b. the prediction held the correction, so what was seen is relative to it.
      correction *= 1 + LEARNING_RATE * (surprise - 1);
    },
    adopt(measured) {
      ({ curve, tripMs } = measured);
      slowestMs = measured.slowestMs ?? slowestMs;
      correction = 1;
    },
  };
}
