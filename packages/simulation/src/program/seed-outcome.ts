/** What one run of the simulation is made from: equal requests have equal outcomes. */
export interface SeedRequest {
  /** An integer from 0. */
  readonly seed: number;
  /** Crash points, counted from 1, at which a process is killed besides those that the seed chooses. */
  readonly crashAt?: readonly number[];
  /** The name of a built-in defect: the suite is sabotaged so. */
  readonly defect?: string;
  /** Told of every event, as a line of text, before it happens. */
  readonly onEvent?: (line: string) => void;
}

/** Counts by kind. */
export type Counts = Readonly<Record<string, number>>;

export interface SeedFailure {
  /** The name of the invariant that did not hold; `error` when something threw that should not. */
  readonly invariant: string;
  readonly detail: string;
}

/** What came of one run. */
export interface SeedOutcome {
  readonly seed: number;
  /** Absent when every invariant held. */
  readonly failure?: SeedFailure;
  /** Of the trace, and of whatever state the oracle looked at. */
  readonly hash: string;
  readonly events: number;
  /** Crash points that passed. */
  readonly crashPoints: number;
  /** Virtual time from the first event to the last, in milliseconds. */
  readonly virtualMs: number;
  /** Jobs that were accepted. */
  readonly jobs: number;
  /** Processes killed, by kind of process. */
  readonly crashes: Counts;
  /** Faults injected, by kind; crashes are not among them. */
  readonly faults: Counts;
  /** What submissions were answered: `accepted`, an error's code, or `lost`. */
  readonly answers?: Counts;
  /** How often each invariant was checked. */
  readonly checks: Counts;
  /** The last events, as lines of text; may be left out when nothing failed. */
  readonly lastEvents?: readonly string[];
}

/** The suite, as the programs here see it: `src/suite/index.ts` exports these. */
export interface SimulatedSuite {
  /** Runs one seed. Rejects only when the simulation itself cannot run. */
  runSeed(request: SeedRequest): Promise<SeedOutcome>;
  /** Names of the built-in defects. */
  readonly defects: readonly string[];
}
