import {
  type AcceptedMessage,
  type CompletedMessage,
  isJobId,
  isUuid,
  MAX_BUDGET_USD,
  MAX_TOKENS_PER_JOB,
  type Usage,
} from '@sluice/contracts';

/** What is recorded of an accepted job: its message without the input. */
export type AcceptedFact = Omit<AcceptedMessage, 'input'>;
/** What is recorded of a completed job. */
export type CompletedFact = CompletedMessage;

export type Fact =
  | { readonly type: 'accepted'; readonly message: AcceptedFact }
  | { readonly type: 'completed'; readonly message: CompletedFact };

/** What a call to `recordFacts` added; facts that were recorded before are not in it. */
export interface RecordOutcome {
  /** Jobs whose reserve entry was inserted. */
  readonly newlyAccepted: ReadonlySet<string>;
  /** Jobs whose terminal entry was inserted, and what each is billed in nano-USD. */
  readonly newlyCompleted: ReadonlyMap<string, bigint>;
}

export interface FactFailure {
  readonly type: Fact['type'];
  readonly jobId: string;
  readonly cause: unknown;
}

/** Some facts can never be recorded; all others of the call were. */
export class RecordError extends Error {
  /** The facts that were refused, by type and job; a fact that was given twice is listed once. */
  readonly failures: readonly FactFailure[];
  /** The same by job id alone. */
  readonly failed: ReadonlyMap<string, unknown>;
  /** What the call did record. */
  readonly outcome: RecordOutcome;

  constructor(failures: readonly FactFailure[], outcome: RecordOutcome) {
    super(`${failures.length} facts cannot be recorded`, { cause: failures[0]?.cause });
    this.name = 'RecordError';
    this.failures = failures;
    this.failed = new Map(failures.map(({ jobId, cause }) => [jobId, cause]));
    this.outcome = outcome;
  }
}

const MAX_EPOCH_MS = 8_640_000_000_000_000;
const MAX_ATTEMPT = 1_000;
const MAX_EPOCH = 1_000;
const MAX_NANO_USD = MAX_BUDGET_USD * 1e9;

/** The first fact of each type and job; facts with values out of range are moved to `failures`. */
export function distinctValid(facts: readonly Fact[], failures: FactFailure[]): readonly Fact[] {
  const distinct = new Map<string, Fact>();
  const refused = new Set<string>();
  for (const fact of facts) {
    const { jobId } = fact.message;
    const key = fact.type + jobId;
    const problem = problemOf(fact);
    if (problem === undefined) {
      if (!distinct.has(key)) distinct.set(key, fact);
    } else if (!refused.has(key)) {
      refused.add(key);
      failures.push({ type: fact.type, jobId, cause: new RangeError(problem) });
    }
  }
  return [...distinct.values()];
}

/**
 * Why a fact cannot be recorded, or undefined. Only what would make PostgreSQL refuse the whole statement is looked
 * at; whether a message is well-formed is decided where it is read.
 */
export function problemOf({ type, message }: Fact): string | undefined {
  if (!isJobId(message.jobId)) return 'jobId is not a UUIDv7';
  if (!isUuid(message.apiKeyId)) return 'apiKeyId is not a UUID';
  return type === 'accepted' ? problemOfAccepted(message) : problemOfCompleted(message);
}

function problemOfAccepted(message: AcceptedFact): string | undefined {
  const counts = [message.inputTokens, message.maxOutputTokens, message.reservedTokens];
  if (!counts.every(isCount)) return 'a number of tokens is out of range';
  if (!isWithin(message.reservedNanoUsd ?? 0, MAX_NANO_USD)) return 'reservedNanoUsd is out of range';
  const { replay } = message;
  if (replay && !(isJobId(replay.of) && isWithin(replay.epoch, MAX_EPOCH))) return 'replay is out of range';
  return isTime(message.expiresAtMs) ? undefined : 'expiresAtMs is out of range';
}

function problemOfCompleted(message: CompletedFact): string | undefined {
  const { usage, attempt, startedAtMs, finishedAtMs, reservedTokens = 0, reservedNanoUsd = 0 } = message;
  if (!isUsage(usage)) return 'usage is out of range';
  if (!isCount(reservedTokens)) return 'reservedTokens is out of range';
  if (!isWithin(reservedNanoUsd, MAX_NANO_USD)) return 'reservedNanoUsd is out of range';
  if (!isWithin(attempt, MAX_ATTEMPT)) return 'attempt is out of range';
  return isTime(finishedAtMs) && isTime(startedAtMs ?? 0) ? undefined : 'a time is out of range';
}

function isUsage({ inputTokens, outputTokens, cachedTokens }: Usage): boolean {
  return isCount(inputTokens) && isCount(outputTokens) && isWithin(cachedTokens, inputTokens);
}

const isCount = (value: number): boolean => isWithin(value, MAX_TOKENS_PER_JOB);
const isTime = (value: number): boolean => isWithin(value, MAX_EPOCH_MS);

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
