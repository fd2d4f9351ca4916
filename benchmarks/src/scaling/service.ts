import { createCostModel, fitCostCurve, parseCalibration } from '@sluice/ml-worker/composition';

/** What one inference process of a worker takes. */
export interface Service {
  /** Inference processes of a worker: as many as it has cores. */
  readonly processes: number;
  /** Tokens at which a run is closed. */
  readonly batchTokens: number;
  /** Seconds that a process is busy with a batch of so many jobs, texts and tokens. */
  seconds(jobs: number, texts: number, tokens: number): number;
  /** What a worker does at its best by its cost curve alone: `sluice_worker_capacity_tokens_per_second`. */
  readonly capacityTokensPerSecond: number;
}

export interface ServiceOptions {
  /** The text of a calibration file of the worker. */
  readonly calibration: string;
  readonly processes: number;
  /** CPU of the worker's own process for each job, which is missing to the inference processes, in milliseconds. */
  readonly parentMs: number;
  /** The same for each text. */
  readonly parentTextMs: number;
  /** Mean tokens of a text. */
  readonly meanTokens: number;
}

/**
 * Of a worker with two cores, by `npm run bench -- inference`: 230 µs of the parent for a job of one text, 100 µs a text in jobs of 16. So a
 * job takes 139 µs and each text 91 µs.
 */
export const MEASURED_PARENT = { processes: 2, parentMs: 0.139, parentTextMs: 0.091, meanTokens: 33.5 } as const;

/** Share of a run's tokens that are no padding (measured: 0.97 to 1). */
const USEFUL = 0.97;
/** The worker's `SLUICE_BATCH_MAX_TOKENS`. */
const MOST_BATCH_TOKENS = 16_384;
/** Its `SLUICE_BATCH_TARGET_LATENCY`. */
const MOST_BATCH_MS = 50;

/** @throws Error when the calibration is of another form. */
export function createService(options: ServiceOptions): Service {
  const { calibration, processes, parentMs, parentTextMs, meanTokens } = options;
  const measured = parseCalibration(calibration);
  if (!measured) throw new Error('the curve is no calibration file of a worker');
  const cost = createCostModel({ curve: fitCostCurve(measured.points), tripMs: measured.tripMs });
  const batchTokens = Math.min(MOST_BATCH_TOKENS, cost.bestTokens, tokensWithin(MOST_BATCH_MS));

  /** Tokens of the largest run of texts of the mean length that takes no longer; at least one text. */
  function tokensWithin(mostMs: number): number {
    let texts = 1;
    while (texts * meanTokens < MOST_BATCH_TOKENS && cost.runMs(texts + 1, meanTokens / USEFUL) <= mostMs) texts += 1;
    return texts * meanTokens;
  }

  function batchMs(texts: number, tokens: number): number {
    const runs = Math.max(1, Math.round(tokens / batchTokens));
    return runs * (cost.tripMs + cost.runMs(texts / runs, tokens / texts / USEFUL));
  }

  return {
    processes,
    batchTokens,
    seconds: (jobs, texts, tokens) => (batchMs(texts, tokens) + parentMs * jobs + parentTextMs * texts) / 1_000,
    capacityTokensPerSecond: (1_000 * processes * batchTokens) / batchMs(batchTokens / meanTokens, batchTokens),
  };
}
