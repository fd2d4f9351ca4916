import type { Logger, Metrics } from '@sluice/runtime';
import { isAgreement, type OutputDifference } from './output-difference.js';
import type { ShadowedJob } from './shadows.js';

/** Upper bounds of the cosines that are counted together. */
const COSINES = [0.9, 0.99, 0.999, 0.9999, 0.99999, Infinity] as const;
/** Least time between two lines of the log about the same versions. */
const SAY_EVERY_MS = 10_000;

export interface ShadowTallyOptions {
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
}

/** Counts what comparisons of versions come to, in texts. */
export interface ShadowTally {
  /** The text at this place of the job has run on both versions. */
  compared(job: ShadowedJob, index: number, difference: OutputDifference): void;
  /** The shadow version could not run a text of the job. */
  failed(job: ShadowedJob, error: unknown): void;
  /** So many texts of the job are not going to be compared. */
  dropped(job: ShadowedJob, texts: number): void;
  /** What was counted of a model whose main version is compared with a shadow version; by their folders' numbers. */
  of(pair: VersionPair): ShadowCounts;
}

/** A public model and the two versions of it that are compared. */
export interface VersionPair {
  readonly model: string;
  readonly version: string;
  readonly shadow: string;
}

/** Since the worker was started. */
export interface ShadowCounts {
  readonly agreed: number;
  readonly disagreed: number;
  readonly failed: number;
  readonly dropped: number;
  /** Of embeddings that were compared. */
  readonly cosine?: { readonly least: number; readonly mean: number };
  /** Undefined when nothing was compared. */
  readonly greatestDifference?: number;
}

/** What is counted of one pair. */
interface Tally {
  agreed: number;
  disagreed: number;
  failed: number;
  dropped: number;
  cosines: number;
  cosineSum: number;
  leastCosine: number;
  greatestDifference: number | undefined;
  saidAtMs: number;
  unsaid: number;
}

export function createShadowTally({ metrics, logger, now }: ShadowTallyOptions): ShadowTally {
  const texts = metrics.counter(
    'sluice_worker_shadow_texts_total',
    'Texts that were to be compared with a shadow version, by what came of it.',
  );
  const buckets = metrics.counter(
    'sluice_worker_shadow_cosine_bucket',
    'Embeddings of both versions whose cosine is at most le.',
  );
  const sums = metrics.counter('sluice_worker_shadow_cosine_sum', 'Sum of those cosines, of negative ones 0.');
  const counts = metrics.counter('sluice_worker_shadow_cosine_count', 'Embeddings that were compared.');
  const greatest = metrics.gauge(
    'sluice_worker_shadow_greatest_difference',
    'Greatest absolute difference of an output number since the worker was started.',
  );
  const tallies = new Map<string, Tally>();

  function tallyOf({ model, version, shadow }: VersionPair): Tally {
    const key = `${model} ${version} ${shadow}`;
    let tally = tallies.get(key);
    if (!tally) tallies.set(key, (tally = emptyTally()));
    return tally;
  }

  function count(pair: VersionPair, outcome: 'agreed' | 'disagreed' | 'failed' | 'dropped', by = 1): Tally {
    const tally = tallyOf(pair);
    tally[outcome] += by;
    texts.add({ ...pair, outcome }, by);
    return tally;
  }

  function countCosine(pair: VersionPair, tally: Tally, cosine: number): void {
    tally.cosines += 1;
    tally.cosineSum += cosine;
    tally.leastCosine = Math.min(tally.leastCosine, cosine);
    counts.add({ ...pair });
    sums.add({ ...pair }, Math.max(0, cosine));
    for (const le of COSINES) buckets.add({ ...pair, le: le === Infinity ? '+Inf' : String(le) }, Number(cosine <= le));
  }

  /** n.b. a version that differs does so for every text: one line in a while says as much. */
  function say(tally: Tally, facts: object, message: string): void {
    const nowMs = now();
    if (nowMs - tally.saidAtMs < SAY_EVERY_MS) {
      tally.unsaid += 1;
      return;
    }
    logger.warn({ ...facts, alikeSinceLastLine: tally.unsaid }, message);
    tally.saidAtMs = nowMs;
    tally.unsaid = 0;
  }

  return {
    compared(job, index, difference) {
      const pair = pairOf(job);
      const agrees = isAgreement(difference, job.shadow.tolerance);
      const tally = count(pair, agrees ? 'agreed' : 'disagreed');
      if (difference.cosine !== undefined) countCosine(pair, tally, difference.cosine);
      tally.greatestDifference = Math.max(tally.greatestDifference ?? 0, difference.greatest);
      greatest.set(tally.greatestDifference, { ...pair });
      if (agrees) return;
      const facts = { ...pair, jobId: job.jobId, text: index, tokens: job.sequences[index]?.length, ...difference };
      say(tally, facts, 'a shadow version came to something else');
    },
    failed(job, error) {
      const tally = count(pairOf(job), 'failed');
      say(tally, { ...pairOf(job), jobId: job.jobId, err: error }, 'a shadow version could not run a text');
    },
    dropped: (job, dropped) => void count(pairOf(job), 'dropped', dropped),
    of(pair) {
      const { agreed, disagreed, failed, dropped, ...rest } = tallyOf(pair);
      const { cosines, cosineSum, leastCosine, greatestDifference } = rest;
      return {
        ...{ agreed, disagreed, failed, dropped },
        ...(cosines > 0 && { cosine: { least: leastCosine, mean: cosineSum / cosines } }),
        ...(greatestDifference !== undefined && { greatestDifference }),
      };
    },
  };
}

function pairOf({ model, served, shadow }: ShadowedJob): VersionPair {
  return { model, version: served.model.version, shadow: shadow.served.model.version };
}

function emptyTally(): Tally {
  return {
    ...{ agreed: 0, disagreed: 0, failed: 0, dropped: 0, cosines: 0, cosineSum: 0, leastCosine: 1 },
    ...{ greatestDifference: undefined, saidAtMs: -Infinity, unsaid: 0 },
  };
}
