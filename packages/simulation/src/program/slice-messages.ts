import type { SeedOutcome, SeedRequest } from './seed-outcome.js';

/** What the program asks of one of its processes. */
export interface SliceRequest {
  readonly requests: readonly SeedRequest[];
}

/** What the process answers, or says unasked once it is ready. */
export interface SliceAnswer {
  /** In the order of the requests. */
  readonly outcomes: readonly SeedOutcome[];
  /** Names of the suite's built-in defects. */
  readonly defects: readonly string[];
  /** CPU time that this took, in milliseconds. */
  readonly cpuMs: number;
  /** Of the process so far, in megabytes. */
  readonly peakMegabytes: number;
}
