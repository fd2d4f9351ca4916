/** One thing that is wrong, with what is known about it. */
export interface Offence {
  /** In words. */
  readonly what: string;
  readonly jobId?: string;
  readonly request?: string;
  /** What clients and books say of it, a line each, for whoever traces it. */
  readonly known: readonly string[];
}

/** What came of one check. */
export interface Check {
  /** What is checked, as a sentence that is true when it is right. */
  readonly name: string;
  readonly right: boolean;
  /** One line: what was counted, or what is wrong. */
  readonly detail: string;
  /** What was looked at, so that a check that saw nothing is seen as such. */
  readonly numbers: Readonly<Record<string, number>>;
  /** The first ten. */
  readonly offences: readonly Offence[];
}

/** How the suite came to rest. */
export interface Drain {
  /** Everything had ended and nothing was held any more before the time was over. */
  readonly complete: boolean;
  readonly durationMs: number;
  /** What was waited for last, in words; empty when it is complete. */
  readonly waitedFor: string;
}

export interface Verdict {
  readonly right: boolean;
  readonly drain: Drain;
  readonly checks: readonly Check[];
}
