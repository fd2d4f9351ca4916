import type { Limit, LimitStatus } from '@sluice/quota';

/**
 * `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): one item per limit. The draft has no unit
 * for tokens, so the unit is in the name of the policy.
 */
export function rateLimitHeaders(
  limits: readonly Limit[],
  statuses: readonly LimitStatus[],
): Readonly<Record<string, string>> {
  return {
    'ratelimit-policy': limits.map((limit) => `"${limit.name}";q=${limit.max};w=${windowSeconds(limit)}`).join(', '),
    ratelimit: statuses
      .map(
        ({ name, remaining, resetsInMs }) => `"${name}";r=${Math.max(0, remaining)};t=${Math.ceil(resetsInMs / 1000)}`,
      )
      .join(', '),
  };
}

function windowSeconds(limit: Limit): number {
  const windowMs = limit.period ? limit.period.endsAtMs - limit.period.startsAtMs : (limit.windowMs ?? 0);
  return Math.round(windowMs / 1000);
}
