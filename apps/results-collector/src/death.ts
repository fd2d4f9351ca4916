import type { Delivery } from '@sluice/broker';
import { ERRORS, HEADERS, QUEUES, type ErrorCode, type JobError, type TerminalState } from '@sluice/contracts';

/** Where and why a message ended in the `dead` or `unrouted` queue. */
export interface Death {
  /** `<code>` or `<code>: <explanation>`; the broker's own word (`delivery_limit`, `rejected`, `expired`) when it moved the message. */
  readonly reason: string;
  /** The queue it was in before; undefined when it never was in one or nobody says. */
  readonly source: string | undefined;
}

const MAX_REASON_LENGTH = 500;
const MAX_DETAIL_LENGTH = 2_000;

/** Reads the headers of ours, else those of the broker. */
export function deathOf(delivery: Pick<Delivery, 'queue' | 'headers'>): Death {
  const { headers, queue } = delivery;
  const broker = lastDeath(headers);
  const source = wasIngested(headers) ? QUEUES.ingest : (text(headers[HEADERS.source]) ?? broker?.queue);
  const reason =
    text(headers[HEADERS.reason]) ?? (queue === QUEUES.unrouted ? 'unroutable' : (broker?.reason ?? 'unknown'));
  return {
    reason: reason.slice(0, MAX_REASON_LENGTH),
    source,
  };
}

/**
 * Whether another service sent it. The broker's own record comes first, because such a message may carry any header:
 * one that names another source would pass for a job.
 */
function wasIngested(headers: Delivery['headers']): boolean {
  return isStrangers(headers) || headers[HEADERS.source] === QUEUES.ingest;
}

/**
 * Whether the broker moved it here as another service wrote it, so that none of its headers is the suite's. A copy that the gateway made
 * has the gateway's word for where it died, and no record of the broker's.
 */
export function isStrangers(headers: Delivery['headers']): boolean {
  const isIngest = (entry: unknown): boolean =>
    typeof entry === 'object' && entry !== null && 'queue' in entry && entry.queue === QUEUES.ingest;
  return Array.isArray(headers['x-death']) && headers['x-death'].some(isIngest);
}

/** How a job ends whose message died. */
export function endOf(death: Death): { readonly state: TerminalState; readonly error: JobError } {
  const code = codeOf(death.reason);
  const explanation = death.reason.replace(/^\w+:?\s*/, '');
  const detail = (explanation || DETAILS.get(death.reason)) ?? ERRORS[code].title;
  return {
    state: code === 'expired' ? 'expired' : 'failed',
    error: { code, detail: detail.slice(0, MAX_DETAIL_LENGTH) },
  };
}

/** What the broker's one-word reasons mean for a job. */
const DETAILS: ReadonlyMap<string, string> = new Map([
  ['delivery_limit', 'Every worker that took the job went away before it had finished it.'],
  ['expired', 'The job waited in its queue for too long.'],
]);

/** The error code that a reason begins with; `attempts_exhausted` when it begins with none. */
export function codeOf(reason: string): ErrorCode {
  const word = /^\w+/.exec(reason)?.[0] ?? '';
  return Object.hasOwn(ERRORS, word) ? (word as ErrorCode) : 'attempts_exhausted';
}

/**
 * The newest entry of the broker's `x-death` that is not a retry tier's: there every message expires on its way back.
 */
function lastDeath(headers: Delivery['headers']): { readonly reason: string; readonly queue: string } | undefined {
  const entries: readonly unknown[] = Array.isArray(headers['x-death']) ? headers['x-death'] : [];
  for (const entry of entries) {
    if (typeof entry !== 'object' || entry === null) continue;
    const { reason, queue } = entry as Readonly<Record<string, unknown>>;
    if (typeof reason === 'string' && typeof queue === 'string' && !queue.startsWith('retry.'))
      return { reason, queue };
  }
  return undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
