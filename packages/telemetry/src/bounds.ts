/** Bounds of histograms. Each costs a line per set of labels on every page that is read, so they are few. */

/** Seconds, for what should take milliseconds: requests, statements, runs of a model. */
export const DURATION_BOUNDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;

/** Seconds, for what may wait for hours. */
export const WAIT_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600] as const;

/** How many texts, facts and the like. */
export const COUNT_BOUNDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] as const;

export const TOKEN_BOUNDS = [16, 64, 256, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768] as const;

/** What was expected as a multiple of what came. */
export const RATIO_BOUNDS = [0.5, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 100] as const;
