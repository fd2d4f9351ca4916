import { limitSetSchema, type LimitSet } from '@sluice/contracts';
import { limitsOf, type Quota, type Reservation, type ScopedLimits } from '@sluice/quota';

export const READY_TIMEOUT_MS = 5_000;
/** How long a hold lasts. */
export const HOLD_MS = 600_000;
export const API_KEY = '7b6a1f8e-3c0e-4f0a-9d55-0d8f0c3b7c11';
export const MODEL = 'guesslang';
export const TOKENS = 50;
export const TENANTS = 16;

/** Limits that are checked and never reached. */
const TWO = limitSetSchema.parse({ tokensPerMinute: 100_000_000_000, tokensPerMonth: 9_000_000_000_000 });
const ALL = limitSetSchema.parse({
  requestsPerMinute: 100_000_000_000,
  tokensPerMinute: 100_000_000_000,
  tokensPerDay: 9_000_000_000_000,
  tokensPerMonth: 9_000_000_000_000,
  concurrentJobs: 1_000_000,
  tokensInFlight: 9_000_000_000_000,
  moneyPerMonth: '9000000',
});

/** Tokens per minute and per month of the tenant: what most plans have. */
export function twoLimits(): readonly ScopedLimits[] {
  return [scope('tenant', '', TWO)];
}

/** Every limit there is, on the tenant, the API key and the model. */
export function allLimits(): readonly ScopedLimits[] {
  return [scope('tenant', '', ALL), scope('apiKey', API_KEY, ALL), scope('model', MODEL, ALL)];
}

function scope(kind: ScopedLimits['scope'], subject: string, set: LimitSet): ScopedLimits {
  return { scope: kind, subject, limits: limitsOf(set, kind, 'UTC', Date.now()) };
}

/** A job of a benchmark. */
export function reservation(tenantId: string, jobId: string, scopes: readonly ScopedLimits[]): Reservation {
  return {
    tenantId,
    jobId,
    owner: jobId,
    apiKeyId: API_KEY,
    model: MODEL,
    amounts: { tokens: TOKENS, nanoUsd: 1_250 },
    scopes,
    holdTtlMs: HOLD_MS,
    facts: JSON.stringify({ jobId, model: MODEL, inputTokens: TOKENS, expiresAtMs: Date.now() + HOLD_MS }),
  };
}

/** Tenants that are loaded with nothing used. */
export async function loadTenants(
  quota: Quota,
  name: string,
  scopes: readonly ScopedLimits[],
): Promise<readonly string[]> {
  const tenants = Array.from({ length: TENANTS }, (_, index) => `${name}-${index}`);
  for (const tenantId of tenants) {
    const ticket = await quota.beginLoad(tenantId);
    const cover = scopes.flatMap(({ limits }) => limits.map((limit) => limit.name));
    await quota.load({ ticket, scopes, cover, posted: [], openHolds: [] });
  }
  return tenants;
}
