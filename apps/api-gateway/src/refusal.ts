import { ServiceError } from '@sluice/contracts';
import type { Limit, LimitStatus, ReserveOutcome } from '@sluice/quota';
import { rateLimitHeaders } from './rate-limit-headers.js';

type Refused = Extract<ReserveOutcome, { outcome: 'refused' }>;

/** Says which limit refused a job, how much is left of it and when it clears. */
export function refusal(refused: Refused, cost: number, limits: readonly Limit[]): ServiceError {
  const headers = rateLimitHeaders(limits, refused.limits);
  const status = refused.limits.find((limit) => limit.name === refused.limit);
  const extensions = { limit: refused.limit, requestedTokens: cost, ...(status && limitFacts(status)) };
  if (refused.clearsInMs === undefined) {
    return new ServiceError('exceeds_limit', `The job needs ${cost} tokens, more than ${refused.limit} ever allows.`, {
      extensions,
      headers,
    });
  }
  const seconds = Math.max(1, Math.ceil(refused.clearsInMs / 1000));
  const code = status?.kind === 'quota' ? 'quota_exceeded' : 'rate_limited';
  const detail = `The job needs ${cost} tokens; ${refused.limit} has ${status?.remaining ?? 0} left and clears in ${seconds} s.`;
  return new ServiceError(code, detail, { extensions, headers, retryAfterSeconds: seconds });
}

function limitFacts(status: LimitStatus): Record<string, number> {
  return { max: status.max, used: status.used, held: status.held, remaining: status.remaining };
}
