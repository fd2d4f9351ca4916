import { randomInt } from 'node:crypto';
import { ServiceError, type AcceptedMessage, type ErrorCode, type LimitUnit } from '@sluice/contracts';
import type { LimitStatus, ReserveOutcome, ScopedLimits } from '@sluice/quota';
import { rateLimitHeaders } from './rate-limit-headers.js';

type Refused = Extract<ReserveOutcome, { outcome: 'refused' }>;
type Needs = Pick<AcceptedMessage, 'reservedTokens' | 'reservedNanoUsd'>;

/** What is in flight ends when a job does, which nobody knows: clients are spread over a few seconds. */
const LONGEST_IN_FLIGHT_RETRY_S = 5;

/** Says which limit refused a job, how much the job needs, what is left of the limit and when it clears. */
export function refusal(refused: Refused, needs: Needs, scopes: readonly ScopedLimits[]): ServiceError {
  const { limit, clearsInMs, limits } = refused;
  const requested = amountOf(limit.unit, needs);
  const headers = rateLimitHeaders(scopes, limits);
  const job = `The job needs ${amountText(limit.unit, requested)}`;
  if (clearsInMs === undefined) {
    const detail = `${job}, more than ${limit.name} ever allows (${amountText(limit.unit, limit.max)}).`;
    return new ServiceError('exceeds_limit', detail, { extensions: limitFacts(limit, requested), headers });
  }
  const clearsInSeconds = Math.max(1, Math.ceil(clearsInMs / 1000));
  const isInFlight = limit.kind === 'inFlight';
  const when = isInFlight ? 'clears as jobs end' : `clears in ${clearsInSeconds} s`;
  const left = amountText(limit.unit, Math.max(0, limit.remaining));
  return new ServiceError(codeOf(limit), `${job}; ${limit.name} has ${left} left and ${when}.`, {
    extensions: { ...limitFacts(limit, requested), clearsInSeconds },
    headers,
    retryAfterSeconds: isInFlight ? randomInt(LONGEST_IN_FLIGHT_RETRY_S) + 1 : clearsInSeconds,
  });
}

function codeOf({ kind, unit }: LimitStatus): ErrorCode {
  if (unit === 'nanoUsd') return 'budget_exceeded';
  if (kind === 'inFlight') return 'concurrency_limited';
  return kind === 'rate' ? 'rate_limited' : 'quota_exceeded';
}

function amountOf(unit: LimitUnit, { reservedTokens, reservedNanoUsd }: Needs): number {
  if (unit === 'requests') return 1;
  return unit === 'tokens' ? reservedTokens : (reservedNanoUsd ?? 0);
}

function amountText(unit: LimitUnit, amount: number): string {
  if (unit === 'nanoUsd') return usdText(amount);
  return `${amount} ${amount === 1 ? unit.slice(0, -1) : unit}`;
}

/** Nano-USD as dollars, exactly, with at least two places: `$0.10`, `$0.000000002`. */
export function usdText(nanoUsd: number): string {
  const digits = String(nanoUsd).padStart(10, '0');
  const places = digits.slice(-9).replace(/0{1,7}$/, '');
  return `$${digits.slice(0, -9)}.${places}`;
}

function limitFacts(status: LimitStatus, requested: number): Readonly<Record<string, unknown>> {
  const { name, scope, subject, unit, max, used, held, remaining } = status;
  return { limit: name, scope, ...(subject !== '' && { subject }), unit, requested, max, used, held, remaining };
}
