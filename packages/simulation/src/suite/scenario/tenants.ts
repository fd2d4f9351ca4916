import type { LimitSet, Plan, PlansFile } from '@sluice/contracts';
import { hashApiKey } from '@sluice/api-gateway/composition';
import type { Random } from '../../kernel/index.js';

export const PEPPER = 'pepper of the simulation';

export interface SimApiKey {
  readonly apiKeyId: string;
  readonly secret: string;
  readonly keyHash: Buffer;
}

export interface SimTenant {
  readonly tenantId: string;
  readonly timeZone: SimTimeZone['name'];
  readonly plan: string;
  readonly apiKeys: readonly SimApiKey[];
}

/** Zones without summer time, so that their days follow from the clock alone. */
export interface SimTimeZone {
  readonly name: 'UTC' | 'Asia/Kolkata';
  readonly offsetMs: number;
}

export const TIME_ZONES: readonly SimTimeZone[] = [
  { name: 'UTC', offsetMs: 0 },
  { name: 'Asia/Kolkata', offsetMs: 19_800_000 },
];

const TENANTS = 2;

/** Made once for all seeds: hashing takes longer than much of a seed. */
const API_KEYS: readonly (readonly SimApiKey[])[] = Array.from({ length: TENANTS }, (_, tenant) =>
  ['a', 'b'].map((letter, index) => {
    const secret = `slk_tenant_${tenant}_key_${letter}`;
    const apiKeyId = `00000000-0000-4000-8000-0000000000${tenant}${index}`;
    return { apiKeyId, secret, keyHash: hashApiKey(secret, PEPPER) };
  }),
);

/** Money that a token costs at first, in nano-USD; see `prices.ts`. */
const NANO_USD_PER_TOKEN = 2_000;
/** What all jobs of a tenant ask for in about one run. */
const TYPICAL_TOKENS = 110;

/** Limits so tight that some of the requests of a run are refused by each. */
function limitsOf(random: Random, chance: number): LimitSet {
  const limits: LimitSet = {
    tokensPerDay: Math.floor(random.between(0.3, 1.2) * TYPICAL_TOKENS),
    tokensPerMonth: Math.floor(random.between(0.5, 1.5) * TYPICAL_TOKENS),
    moneyPerMonth: {
      max: Math.floor(random.between(0.3, 1.2) * TYPICAL_TOKENS * NANO_USD_PER_TOKEN),
      ...{ alertAtPercent: [], soft: false },
    },
    requestsPerMinute: 2 + random.int(6),
    tokensPerMinute: Math.floor(random.between(0.2, 0.8) * TYPICAL_TOKENS),
    concurrentJobs: 1 + random.int(4),
    tokensInFlight: Math.floor(random.between(0.15, 0.6) * TYPICAL_TOKENS),
  };
  return Object.fromEntries(
    Object.entries(limits).filter(([key]) => random.chance(key === 'tokensPerDay' ? 2 * chance : chance)),
  );
}

function planOf(random: Random): Plan {
  return {
    limits: limitsOf(random, 0.35),
    perApiKey: random.chance(0.4) ? limitsOf(random, 0.2) : {},
    perModel: random.chance(0.4) ? { '*': limitsOf(random, 0.2) } : {},
    estimate: 'exact',
  };
}

/** Two tenants with a plan each. */
export function drawTenants(random: Random): { readonly tenants: readonly SimTenant[]; readonly plans: PlansFile } {
  const tenants = API_KEYS.map((apiKeys, index): SimTenant => {
    const plan = `plan-${index}`;
    return { tenantId: `tenant-${index}`, timeZone: random.pick(TIME_ZONES).name, plan, apiKeys };
  });
  return { tenants, plans: { plans: Object.fromEntries(tenants.map(({ plan }) => [plan, planOf(random)])) } };
}
