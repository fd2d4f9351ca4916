import type { Limit, ScopedLimits } from '../../src/index.js';

export const PERIOD_MS = 40_000;

type Rule = Omit<Limit, 'period'>;
interface Plan {
  readonly tenant: readonly Rule[];
  readonly apiKey: readonly Rule[];
  readonly model: readonly Rule[];
}
const rate = (name: string, unit: Limit['unit'], max: number, windowMs: number): Rule => ({
  ...{ name, kind: 'rate', unit, max, windowMs },
});
const quota = (name: string, unit: Limit['unit'], max: number, soft = false): Rule => ({
  ...{ name, kind: 'quota', unit, max, soft },
});
const inFlight = (name: string, unit: Limit['unit'], max: number): Rule => ({ name, kind: 'inFlight', unit, max });

/** Windows are about as long as periods, so that buckets refill and periods turn in the middle of a run. */
export const PLANS: readonly Plan[] = [
  {
    tenant: [rate('t:rate', 'tokens', 100, 50_000), quota('t:quota', 'tokens', 300), inFlight('t:jobs', 'requests', 6)],
    apiKey: [quota('k:money', 'nanoUsd', 2_000)],
    model: [rate('m:requests', 'requests', 8, 30_000), quota('m:soft', 'tokens', 50, true)],
  },
  {
    tenant: [inFlight('t:jobs', 'requests', 9), rate('t:rate', 'tokens', 37, 20_000)],
    apiKey: [],
    model: [rate('m:requests', 'requests', 5, 30_000)],
  },
  {
    tenant: [quota('t:quota', 'tokens', 9e15), rate('t:rate', 'tokens', 100_000_000_000, 60_000)],
    apiKey: [quota('k:money', 'nanoUsd', 9e15), inFlight('k:tokens', 'tokens', 90)],
    model: [],
  },
  // The same name for another kind: a limit that nobody knows.
  { tenant: [inFlight('t:quota', 'tokens', 300)], apiKey: [], model: [] },
  // Full after two or three jobs, so that whatever lets one more through is seen.
  {
    tenant: [quota('t:few', 'tokens', 200), inFlight('t:two', 'requests', 2)],
    apiKey: [quota('k:little', 'nanoUsd', 1_200)],
    model: [rate('m:often', 'requests', 30, 30_000)],
  },
];

const known = new Map<string, readonly ScopedLimits[]>();

/** The limits as a gateway whose clock shows `nowMs` knows them. */
export function scopesAt(plan: number, nowMs: number, apiKeyId: string, modelName: string): readonly ScopedLimits[] {
  const index = Math.floor(nowMs / PERIOD_MS);
  const key = JSON.stringify([plan, index, apiKeyId, modelName]);
  const scopes = known.get(key) ?? scopesOf(plan, index, apiKeyId, modelName);
  known.set(key, scopes);
  return scopes;
}

function scopesOf(plan: number, index: number, apiKeyId: string, modelName: string): readonly ScopedLimits[] {
  const id = (i: number) =>
    `${String(Math.floor(i / 100) % 10_000).padStart(4, '0')}-${String(i % 100).padStart(2, '0')}`;
  const period = {
    ...{ id: id(index), startsAtMs: index * PERIOD_MS, endsAtMs: (index + 1) * PERIOD_MS },
    ...{ nextId: id(index + 1), nextEndsAtMs: (index + 2) * PERIOD_MS },
  };
  const dated = (rules: readonly Rule[]) => rules.map((rule) => (rule.kind === 'quota' ? { ...rule, period } : rule));
  const { tenant = [], apiKey = [], model = [] } = PLANS[plan] ?? {};
  return [
    { scope: 'tenant', subject: '', limits: dated(tenant) },
    { scope: 'apiKey', subject: apiKeyId, limits: dated(apiKey) },
    { scope: 'model', subject: modelName, limits: dated(model) },
  ];
}

/** The largest maximum that any plan gives a hard limit. */
export function largestMax(name: string): number {
  const rules = PLANS.flatMap(({ tenant, apiKey, model }) => [...tenant, ...apiKey, ...model]);
  return Math.max(...rules.filter((rule) => rule.name === name).map(({ max, soft }) => (soft ? Infinity : max)));
}
