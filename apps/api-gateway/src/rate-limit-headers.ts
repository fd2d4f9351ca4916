import type { LimitUnit } from '@sluice/contracts';
import type { Limit, LimitStatus, ScopedLimits } from '@sluice/quota';

type Headers = Readonly<Record<string, string>>;

/**
 * The state of the limits of a request, in two forms that clients read:
 *
 * - `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): an item for each limit that can refuse.
 *   The unit is in the name of the limit and in `qu`; money is in micro-USD, because integers of structured fields end
 *   at 15 digits. Limits on what is in flight have neither window nor reset.
 * - `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as OpenAI's clients read them: the bucket of that unit with
 *   the smallest share left.
 *
 * Soft limits refuse nothing, so no client should wait for them: they are not named.
 */
export function rateLimitHeaders(scopes: readonly ScopedLimits[], statuses: readonly LimitStatus[]): Headers {
  const hard = statuses.filter(({ soft }) => !soft);
  if (hard.length === 0) return {};
  return {
    'ratelimit-policy': policyOf(scopes),
    ratelimit: hard.map(stateOf).join(', '),
    ...bucketHeaders('requests', hard),
    ...bucketHeaders('tokens', hard),
  };
}

const policies = new WeakMap<readonly ScopedLimits[], string>();

/** Kept for each array: it is the same from request to request. */
function policyOf(scopes: readonly ScopedLimits[]): string {
  const known = policies.get(scopes);
  if (known !== undefined) return known;
  const hard = scopes.flatMap(({ limits }) => limits).filter(({ soft }) => !soft);
  const policy = hard
    .map(({ name, unit, kind, max, ...time }) => {
      const window = kind === 'inFlight' ? '' : `;w=${windowSeconds(time)}`;
      return `"${name}";q=${shown(unit, max)};qu="${unitName(unit, kind)}"${window}`;
    })
    .join(', ');
  policies.set(scopes, policy);
  return policy;
}

function stateOf({ name, kind, unit, remaining, resetsInMs }: LimitStatus): string {
  const reset = kind === 'inFlight' ? '' : `;t=${Math.ceil(resetsInMs / 1000)}`;
  return `"${name}";r=${shown(unit, Math.max(0, remaining))}${reset}`;
}

function shown(unit: LimitUnit, count: number): number {
  return unit === 'nanoUsd' ? Math.floor(count / 1000) : count;
}

function unitName(unit: LimitUnit, kind: Limit['kind']): string {
  if (unit === 'nanoUsd') return 'micro-usd';
  return unit === 'requests' && kind === 'inFlight' ? 'concurrent-requests' : unit;
}

function windowSeconds({ period, windowMs = 0 }: Pick<Limit, 'period' | 'windowMs'>): number {
  return Math.round((period ? period.endsAtMs - period.startsAtMs : windowMs) / 1000);
}

function bucketHeaders(unit: 'requests' | 'tokens', statuses: readonly LimitStatus[]): Headers {
  let tightest: LimitStatus | undefined;
  for (const status of statuses) {
    if (status.kind !== 'rate' || status.unit !== unit) continue;
    if (!tightest || status.remaining / status.max < tightest.remaining / tightest.max) tightest = status;
  }
  if (!tightest) return {};
  return {
    [`x-ratelimit-limit-${unit}`]: String(tightest.max),
    [`x-ratelimit-remaining-${unit}`]: String(Math.max(0, tightest.remaining)),
    [`x-ratelimit-reset-${unit}`]: goDuration(tightest.resetsInMs),
  };
}

/** As Go prints a duration, which is what OpenAI sends: `12ms`, `1.5s`, `6m0s`, `1h0m0s`. */
export function goDuration(durationMs: number): string {
  const ms = Math.ceil(durationMs);
  if (ms <= 0) return '0s';
  if (ms < 1000) return `${ms}ms`;
  const seconds = `${(ms % 60_000) / 1000}s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes === 0) return seconds;
  return minutes < 60 ? `${minutes}m${seconds}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`;
}
