import type { Logger } from '@sluice/runtime';
import type { Metrics } from '@sluice/telemetry';
import type { ServedModel, Shadow } from '../models/served-models.js';
import { isAgreement, type OutputDifference } from './output-difference.js';
import type { ShadowedJob } from './shadows.js';

/** Upper bounds of the cosines that are counted together. */
const COSINES = [0.9, 0.99, 0.999, 0.9999, 0.99999] as const;
/** Labels of a pair of versions. */
const PAIR = ['model', 'version', 'shadow'] as const;
/** Least time between two lines of the log about the same versions. */
const SAY_EVERY_MS = 10_000;

export interface ShadowTallyOptions {
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
}

/**
 * Counts what comparisons of versions come to, in texts, for the pairs that it follows. What is said of others is not counted: such a pair is
 * gone, and its versions' numbers may be those of other files by now.
 */
export interface ShadowTally {
  /** Counts for these pairs, and forgets all others with their metrics. Those that it follows already go on. */
  follow(pairs: readonly VersionPair[]): void;
  /** The text at this place of the job has run on both versions. */
  compared(job: ShadowedJob, index: number, difference: OutputDifference): void;
  /** The shadow version could not run a text of the job. */
  failed(job: ShadowedJob, error: unknown): void;
  /** So many texts of the job are not going to be compared; a reason that nobody expects is told in the log. */
  dropped(job: ShadowedJob, texts: number, reason?: string): void;
  /** What was counted of a pair; nothing when it is not followed. */
  of(pair: VersionPair): ShadowCounts;
}

/** A public model and the two versions of it that are compared. */
export interface VersionPair {
  readonly model: string;
  readonly served: ServedModel;
  readonly shadow: Shadow;
}

/** What tells pairs apart: also the same numbers of versions whose files were replaced, or of other folders. */
export function pairKey({ model, served, shadow }: VersionPair): string {
  return `${model} ${served.key} ${shadow.served.key}`;
}

/** Since the pair is followed. */
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

type Outcome = 'agreed' | 'disagreed' | 'failed' | 'dropped';

/** What is counted of one pair. */
interface Tally {
  readonly pair: VersionPair;
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
    [...PAIR, 'outcome'],
  );
  const cosines = metrics.histogram(
    'sluice_worker_shadow_cosine',
    'Cosines of the embeddings of both versions, negative ones as 0.',
    COSINES,
    PAIR,
  );
  const greatest = metrics.gauge(
    'sluice_worker_shadow_greatest_difference',
    'Greatest absolute difference of an output number of the versions that are compared now.',
    PAIR,
  );
  const tallies = new Map<string, Tally>();

  function forget({ model }: VersionPair): void {
    for (const metric of [texts, cosines, greatest]) metric.forget((labels) => labels.model === model);
  }

  function count(pair: VersionPair, tally: Tally, outcome: Outcome, by = 1): void {
    tally[outcome] += by;
    texts.of({ ...labelsOf(pair), outcome }).add(by);
  }

  function countCosine(pair: VersionPair, tally: Tally, cosine: number): void {
    tally.cosines += 1;
    tally.cosineSum += cosine;
    tally.leastCosine = Math.min(tally.leastCosine, cosine);
    cosines.of(labelsOf(pair)).observe(cosine);
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
    follow(pairs) {
      const followed = new Map(pairs.map((pair) => [pairKey(pair), pair]));
      for (const [key, tally] of tallies) {
        if (followed.has(key)) continue;
        tallies.delete(key);
        forget(tally.pair);
      }
      for (const [key, pair] of followed) if (!tallies.has(key)) tallies.set(key, emptyTally(pair));
    },
    compared(job, index, difference) {
      const tally = tallies.get(pairKey(job));
      if (!tally) return;
      const agrees = isAgreement(difference, job.shadow.tolerance);
      count(job, tally, agrees ? 'agreed' : 'disagreed');
      const { greatest: furthest, cosine, labels } = difference;
      if (cosine !== undefined) countCosine(job, tally, cosine);
      tally.greatestDifference = Math.max(tally.greatestDifference ?? 0, furthest);
      greatest.of(labelsOf(job)).set(tally.greatestDifference);
      if (agrees) return;
      // n.b. labels are what came out, which is the tenant's.
      const sameLabel = labels && { sameLabel: labels.served === labels.shadow };
      const distance = { greatest: furthest, ...(cosine !== undefined && { cosine }), ...sameLabel };
      const text = { jobId: job.jobId, text: index, tokens: job.sequences[index]?.length };
      say(tally, { ...labelsOf(job), ...text, ...distance }, 'a shadow version came to something else');
    },
    failed(job, error) {
      const tally = tallies.get(pairKey(job));
      if (!tally) return;
      count(job, tally, 'failed');
      say(tally, { ...labelsOf(job), jobId: job.jobId, err: error }, 'a shadow version could not run a text');
    },
    dropped(job, dropped, reason) {
      const tally = tallies.get(pairKey(job));
      if (!tally) return;
      count(job, tally, 'dropped', dropped);
      if (reason === undefined) return;
      say(tally, { ...labelsOf(job), jobId: job.jobId, reason }, 'a text was not compared with a shadow version');
    },
    of(pair) {
      const tally = tallies.get(pairKey(pair)) ?? emptyTally(pair);
      const { agreed, disagreed, failed, dropped, cosines, cosineSum, leastCosine, greatestDifference } = tally;
      return {
        ...{ agreed, disagreed, failed, dropped },
        ...(cosines > 0 && { cosine: { least: leastCosine, mean: cosineSum / cosines } }),
        ...(greatestDifference !== undefined && { greatestDifference }),
      };
    },
  };
}

function labelsOf({ model, served, shadow }: VersionPair) {
  return { model, version: served.model.version, shadow: shadow.served.model.version };
}

function emptyTally(pair: VersionPair): Tally {
  return {
    pair,
    ...{ agreed: 0, disagreed: 0, failed: 0, dropped: 0, cosines: 0, cosineSum: 0, leastCosine: 1 },
    ...{ greatestDifference: undefined, saidAtMs: -Infinity, unsaid: 0 },
  };
}
