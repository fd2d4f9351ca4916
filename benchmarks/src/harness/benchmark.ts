/** How a benchmark is run. */
export interface BenchmarkOptions {
  /** A few seconds in all: shows that everything works; the figures mean little. */
  readonly quick: boolean;
  /** Counted rounds of each case; each benchmark has a default, quick 1. */
  readonly rounds?: number | undefined;
  /** Scaling only: the calibration file of a worker whose cost curve is simulated, instead of the one that comes with it. */
  readonly curve?: string | undefined;
  /** For the conditions. */
  readonly command: string;
  /** Told what happens, for people who wait. */
  readonly report: (line: string) => void;
  /** Ends the run early, with an error, after everything is taken down. */
  readonly signal: AbortSignal;
}
