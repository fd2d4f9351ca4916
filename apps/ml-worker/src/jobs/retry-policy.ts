import { MAX_ATTEMPTS, RETRY_TIERS, type ErrorCode } from '@sluice/contracts';
import { dead, retry, type Settlement } from '@sluice/broker';

/** How a job that failed with one error code is tried again. */
export interface RetryRule {
  /** Attempts at most, the first included. 1: it would fail again, so the job ends `failed` and is no dead letter. */
  readonly attempts: number;
  /** The tier to wait in after the first attempt, after the second, and so on; the last one repeats. */
  readonly tiers: readonly TierName[];
}

type TierName = (typeof RETRY_TIERS)[number]['name'];

/** What has no rule of its own, as the broker's consumer does it for handlers that throw. */
export const OTHER_ERRORS = {
  attempts: MAX_ATTEMPTS,
  tiers: ['retry.5s', 'retry.30s', 'retry.5m'],
} as const satisfies RetryRule;

/** Every class of error that a job can meet at a worker. docs/configuration.md has the same table (a test compares). */
export const RETRY_POLICY = {
  /** The input alone decides. */
  input_too_long: { attempts: 1, tiers: [] },
  inference_failed: { attempts: 1, tiers: [] },
  /** Perhaps the input, perhaps the machine was short of memory: give it time, and another worker. */
  inference_crashed: { attempts: MAX_ATTEMPTS, tiers: ['retry.5s', 'retry.30s', 'retry.5m'] },
  /** Each attempt may hold a process for the whole time that is allowed. */
  inference_timeout: { attempts: 3, tiers: ['retry.5s', 'retry.30s'] },
  /** A worker with another `models.yaml`: an update under way takes minutes. */
  model_unavailable: { attempts: MAX_ATTEMPTS, tiers: ['retry.30s', 'retry.5m'] },
} as const satisfies Partial<Record<ErrorCode, RetryRule>>;

/** The rule of an error code. */
export function retryRuleOf(code: ErrorCode): RetryRule {
  const rules: Partial<Record<ErrorCode, RetryRule>> = RETRY_POLICY;
  return rules[code] ?? OTHER_ERRORS;
}

/** How a job came to this worker. */
export interface Redelivery {
  /** From 1. */
  readonly attempt: number;
  /** Somebody had this very delivery before and did not settle it. */
  readonly redelivered: boolean;
  /** The error code of the attempt before; undefined when it is not known. */
  readonly retryReason: string | undefined;
}

/**
 * Whether a job is suspected, so that its texts run by themselves: an earlier attempt may have ended through one of them. A retry
 * because a worker had no such model says nothing of them, unless whoever had that one did not settle it.
 */
export function isSuspected({ attempt, redelivered, retryReason }: Redelivery): boolean {
  return attempt > 1 && (redelivered || retryReason !== BLAMELESS);
}

const BLAMELESS: ErrorCode = 'model_unavailable';

/** An attempt that went wrong. */
export interface FailedAttempt {
  readonly code: ErrorCode;
  /** For operators; becomes part of the dead letter's reason. */
  readonly detail: string;
  /** From 1. */
  readonly attempt: number;
  /** Whether the job was suspected before. */
  readonly suspected: boolean;
  /** How long the job may still be started, in milliseconds. */
  readonly remainingMs: number;
}

/**
 * Another attempt after the pause of the rule, or dead with `code: detail` as the reason: when the attempts are used
 * up, or when the pause is longer than the job may wait, because it would only come back to expire. The retry names the code.
 */
export function settlementAfter({ code, detail, attempt, suspected, remainingMs }: FailedAttempt): Settlement {
  const { attempts, tiers } = retryRuleOf(code);
  const name = tiers[Math.min(attempt, tiers.length) - 1];
  const tier = RETRY_TIERS.find((candidate) => candidate.name === name);
  if (!tier || attempt >= attempts || tier.delayMs > remainingMs) return dead(`${code}: ${detail}`);
  // n.b. without a reason it stays suspected.
  return retry(tier.delayMs, suspected && code === BLAMELESS ? undefined : code);
}
