import { expect } from '@jest/globals';
import type { Redis } from 'ioredis';
import { createQuota, type Amounts, type Limit, type Quota, type ScopedLimits } from '../src/index.js';
import { periodId } from '../src/periods.js';
import { readNames, readScope, type StoredRecord } from '../src/scope-state.js';
import { defineScripts, SCRIPTS } from '../src/scripts.js';
import * as model from './quota-model.js';
import { forget, logger, redisNowMs } from './redis.js';

export const PERIOD_MS = 40;
export const TENANT = 'mandant-ü';

interface LedgerJob {
  readonly apiKeyId: string;
  readonly model: string;
  readonly amounts: Amounts;
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  readonly idempotency: { readonly keyHash: string; readonly fingerprint: string } | undefined;
  used?: Amounts;
}

/** What the model knows: the tenant as Redis should have it, and the ledger beside it. */
export interface World {
  tenant: model.TenantModel;
  readonly ledger: Map<string, LedgerJob>;
  losses: number;
}

/** What is tested: the package on a real Redis, with the times at which scripts ran. */
export interface Real {
  readonly quota: Quota;
  /** Of the last script, and of the first `stage` of the last load. */
  ranAtMs(): number;
  stagedAtMs(): number;
  nowMs(): Promise<number>;
  stored(): Promise<Readonly<Record<string, Buffer>>>;
  expiries(): Promise<readonly string[]>;
  forget(): Promise<void>;
}

/** Notes when the scripts ran by looking at their replies on the way back. */
function observeTimes(redis: Redis) {
  let [last, staged]: [number, number | undefined] = [0, undefined];
  const note = (name: string, reply: unknown): unknown => {
    if (Array.isArray(reply)) last = Number(reply[1]);
    if (name === 'begin') staged = undefined;
    // Scopes are staged first.
    if (name === 'stage') staged ??= last;
    return reply;
  };
  const commands = defineScripts(redis) as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  // n.b. a pipeline takes its commands from the connection: those that are sent in pipelines stay as they are.
  for (const name of Object.keys(SCRIPTS).filter((script) => script !== 'settle')) {
    const original = commands[`quota_${name}Buffer`]?.bind(redis);
    commands[`quota_${name}Buffer`] = async (...args) => note(name, await original?.(...args));
  }
  const pipeline = redis.pipeline.bind<() => ReturnType<Redis['pipeline']>>(redis);
  redis.pipeline = () => {
    const made = pipeline();
    const exec = made.exec.bind(made);
    made.exec = async () => {
      const replies = await exec();
      replies?.forEach(([, reply]) => note('pipeline', reply));
      return replies;
    };
    return made;
  };
  return { ranAtMs: () => last, stagedAtMs: () => staged ?? 0 };
}

export function openReal(redis: Redis, keyPrefix: string): Real {
  const key = (name: string) => `${keyPrefix}:{${TENANT}}:${name}`;
  return {
    ...observeTimes(redis),
    quota: createQuota({ redis, keyPrefix, logger }),
    nowMs: () => redisNowMs(redis),
    stored: () => redis.hgetallBuffer(key('quota')),
    expiries: () => redis.zrange(key('expiries'), '0', '-1', 'WITHSCORES'),
    forget: () => forget(redis, `${keyPrefix}:*`),
  };
}

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

/** Windows and periods last some 30 ms, so buckets refill and periods turn in the middle of a run. */
export const PLANS: readonly Plan[] = [
  {
    tenant: [rate('t:rate', 'tokens', 100, 50), quota('t:quota', 'tokens', 300), inFlight('t:jobs', 'requests', 6)],
    apiKey: [quota('k:money', 'nanoUsd', 2_000)],
    model: [rate('m:requests', 'requests', 8, 30), quota('m:soft', 'tokens', 50, true)],
  },
  {
    tenant: [inFlight('t:jobs', 'requests', 9), rate('t:rate', 'tokens', 37, 20)],
    apiKey: [],
    model: [rate('m:requests', 'requests', 5, 30)],
  },
  {
    tenant: [quota('t:quota', 'tokens', 9e15), rate('t:rate', 'tokens', 100_000_000_000, 60_000)],
    apiKey: [quota('k:money', 'nanoUsd', 9e15), inFlight('k:tokens', 'tokens', 90)],
    model: [],
  },
];

/** The limits as a gateway whose clock is off knows them at `nowMs`. */
export function scopesAt(plan: number, nowMs: number, apiKeyId: string, modelName: string): readonly ScopedLimits[] {
  const index = Math.floor(nowMs / PERIOD_MS);
  const id = (i: number) =>
    `${String(Math.floor(i / 100) % 10_000).padStart(4, '0')}-${String(i % 100).padStart(2, '0')}`;
  const period = {
    ...{ id: id(index), startsAtMs: index * PERIOD_MS, endsAtMs: (index + 1) * PERIOD_MS },
    ...{ nextId: id(index + 1), nextEndsAtMs: (index + 2) * PERIOD_MS },
  };
  const dated = (rules: readonly Rule[]) => rules.map((rule) => (rule.kind === 'quota' ? { ...rule, period } : rule));
  const { tenant = [], apiKey = [], model: ofModel = [] } = PLANS[plan] ?? {};
  return [
    { scope: 'tenant', subject: '', limits: dated(tenant) },
    { scope: 'apiKey', subject: apiKeyId, limits: dated(apiKey) },
    { scope: 'model', subject: modelName, limits: dated(ofModel) },
  ];
}

function expectedRecord(state: model.LimitState): Record<string, unknown> {
  const { limit, lack, periodId: period, sinceMs, endsAtMs, held, used, overage } = state;
  if (limit.kind === 'rate') return { kind: 'rate', max: limit.max, windowMs: limit.windowMs, lack: Number(lack) };
  if (limit.kind === 'inFlight') return { kind: 'inFlight', held: Number(held) };
  const counts = { held: Number(held), used: Number(used), overage: Number(overage) };
  return { kind: 'quota', period, sinceMs, endsAtMs, ...counts };
}

function storedRecord({ code, ...record }: StoredRecord): Record<string, unknown> {
  expect(code).toBeGreaterThan(0);
  return record.kind === 'quota' ? { ...record, period: periodId(record.period) } : record;
}

/** After every step: Redis keeps exactly what the model has, and every open hold is counted. */
export async function expectEqual({ tenant }: World, real: Real): Promise<void> {
  const stored = await real.stored();
  expect(stored['loaded'] !== undefined).toBe(tenant.loaded);
  const holds: Record<string, string> = {};
  const scopes: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(stored)) {
    if (field.startsWith('h:')) holds[field.slice(2)] = value.toString();
    else if (!['loaded', 'cover'].includes(field) && !field.startsWith('n:')) {
      const { atMs, names, records } = readScope(value, readNames(stored[`n:${field}`]));
      const byName = records.map((record, i) => [names[i] ?? '', storedRecord(record)] as const);
      scopes[field] = { atMs: names.length && atMs, ...Object.fromEntries(byName) };
    }
  }
  const expectedScopes = [...tenant.scopes].map(([field, { atMs, limits }]) => {
    const records = [...limits].map(([name, state]) => [name, expectedRecord(state)] as const);
    return [field, { atMs: limits.size && atMs, ...Object.fromEntries(records) }];
  });
  expect(scopes).toEqual(Object.fromEntries(expectedScopes));
  const expectedHolds = [...tenant.holds].map(([jobId, { owner, key, apiKeyId, model: name, amounts, madeAtMs }]) => [
    jobId,
    `${owner}\n${key}\n${apiKeyId}\n${name}\n${amounts.tokens} ${amounts.nanoUsd} 0 ${madeAtMs}`,
  ]);
  expect(holds).toEqual(Object.fromEntries(expectedHolds));
  const expiries = await real.expiries();
  const found = expiries.flatMap((jobId, i) => (i % 2 === 0 ? [[jobId, expiries[i + 1]]] : []));
  const expected = [...tenant.holds].map(([jobId, { expiresAtMs }]) => [jobId, String(expiresAtMs)]);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
  if (tenant.loaded) expectHeld(tenant);
}

/** What a limit holds is the sum of the open holds that count in it. */
function expectHeld(tenant: model.TenantModel): void {
  for (const [field, { limits }] of tenant.scopes) {
    for (const { limit, held, sinceMs } of limits.values()) {
      if (limit.kind === 'rate') continue;
      const open = [...tenant.holds.values()].filter(
        (hold) =>
          ['t', `k:${hold.apiKeyId}`, `m:${hold.model}`].includes(field) &&
          (limit.kind === 'inFlight' || hold.madeAtMs >= sinceMs),
      );
      const of = ({ amounts }: model.ModelHold) => (limit.unit === 'requests' ? 1 : amounts[limit.unit]);
      expect(Number(held)).toBe(open.reduce((sum, hold) => sum + of(hold), 0));
    }
  }
}
