import { ALIVE_MS, KEYS_PER_PIPELINE, TICKET_TTL_MS } from '../bounds.js';
import type { Limit, ScopedLimits } from '../limits.js';
import { planLoad, type LoadPlan } from '../load-plan.js';
import type { Load, LoadTicket, OpenHold } from '../quota.js';
import { scopeField } from '../scope-state.js';
import { unavailable } from '../unavailable.js';
import { amountOf } from './limit-state.js';
import { isEarly, isOf, openScope, recorded, type ScopeState } from './scope-model.js';
import type { Steps } from './steps.js';
import { alive, endHold, fieldsOf, type ModelHold, type Source, type TenantModel } from './tenant-model.js';

/** The one command that begins a load, where it is needed. */
export function beginAt(
  source: Source,
  { tenantId, token }: LoadTicket,
  { limits, nowMs }: { readonly limits: readonly ScopedLimits[] | undefined; readonly nowMs: number },
): 'begun' | 'loaded' | 'busy' {
  const tenant = source.tenant(tenantId);
  const other = alive(tenant.load, nowMs);
  if (limits) {
    if (source.isLoaded(tenant) && limits.every((scoped) => knows(tenant, scoped, nowMs))) return 'loaded';
    const leftMs = (other?.aliveUntilMs ?? 0) - nowMs;
    // n.b. more is left than there can be when the clock was set back.
    if (other?.run === source.run() && leftMs > 0 && leftMs <= ALIVE_MS) return 'busy';
  }
  const underWay = { token, run: source.run(), aliveUntilMs: nowMs + ALIVE_MS, notes: new Map() };
  const load = { value: underWay, expiresAtMs: nowMs + TICKET_TTL_MS };
  Object.assign(tenant, { loadedIn: undefined, load, staged: undefined });
  return 'begun';
}

function knows({ scopes, cover }: TenantModel, { scope, subject, limits }: ScopedLimits, nowMs: number): boolean {
  const kept = scopes.get(scopeField(scope, subject));
  if (kept && isEarly(kept, nowMs)) return false;
  return limits.every((limit) => (kept ? isOf(kept.limits.get(limit.name), limit) : cover.has(limit.name)));
}

/** The load that a ticket is of; undefined when it was superseded. */
export function ownLoad({ tenant, run }: Source, { tenantId, token }: LoadTicket, nowMs: number) {
  const load = alive(tenant(tenantId).load, nowMs);
  return load?.token === token && load.run === run() ? load : undefined;
}

/** `load` of the package, command by command. Throws what that rejects with. */
export function* loadSteps(source: Source, facts: Load): Steps<'loaded' | 'superseded'> {
  const plan = planLoad(facts);
  yield* setKeys(source, facts);
  let [scopes, holds] = [[...scopesOf(facts)], [...holdsOf(facts)]];
  for (const { scopes: count, rows } of plan.parts) {
    const nowMs = yield 'stage';
    if (!ownLoad(source, facts.ticket, nowMs)) return 'superseded';
    const part = { scopes: scopes.slice(0, count), holds: holds.slice(0, (rows.length - 3 * count) / 3) };
    stage(source.tenant(facts.ticket.tenantId), part, nowMs);
    [scopes, holds] = [scopes.slice(part.scopes.length), holds.slice(part.holds.length)];
  }
  return commit(source, { facts, plan, nowMs: yield 'commit' });
}

function* setKeys({ tenant }: Source, { ticket, keys: restored }: Load): Steps<void> {
  const entries = restored?.entries ?? [];
  for (let i = 0; i < entries.length; i += KEYS_PER_PIPELINE) {
    const nowMs = yield 'set';
    const { keys } = tenant(ticket.tenantId);
    for (const { keyHash, jobId, fingerprint, expiresAtMs } of entries.slice(i, i + KEYS_PER_PIPELINE)) {
      if (!alive(keys.get(keyHash), nowMs)) keys.set(keyHash, { value: { jobId, fingerprint }, expiresAtMs });
    }
  }
}

interface Part {
  readonly scopes: readonly (readonly [string, ScopeState])[];
  readonly holds: readonly (readonly [string, ModelHold])[];
}

function stage(tenant: TenantModel, { scopes, holds }: Part, nowMs: number): void {
  const staged = alive(tenant.staged, nowMs);
  const dated = scopes.map(([field, scope]) => [field, { ...scope, atMs: nowMs }] as const);
  const value = {
    scopes: new Map([...(staged?.scopes ?? []), ...dated]),
    holds: new Map([...(staged?.holds ?? []), ...holds]),
  };
  tenant.staged = { value, expiresAtMs: nowMs + TICKET_TTL_MS };
}

function commit(
  source: Source,
  { facts, plan, nowMs }: { facts: Load; plan: LoadPlan; nowMs: number },
): 'loaded' | 'superseded' {
  const { tenantId } = facts.ticket;
  const tenant = source.tenant(tenantId);
  const load = ownLoad(source, facts.ticket, nowMs);
  const staged = alive(tenant.staged, nowMs);
  const [scopes, holds] = [new Map(staged?.scopes), new Map(staged?.holds)];
  if (!load || 2 * scopes.size + holds.size !== plan.fields || holds.size !== plan.holds) return 'superseded';
  const periods = facts.scopes.flatMap(({ limits }) => limits.flatMap(({ period }) => period ?? []));
  if (periods.some(({ startsAtMs, endsAtMs }) => nowMs < startsAtMs || nowMs >= endsAtMs))
    throw unavailable(new Error(`the period of tenant ${tenantId} turned while it was loaded`));
  for (const [jobId, used] of load.notes) endHold({ scopes, holds }, jobId, { used, requests: 1n, nowMs });
  Object.assign(tenant, {
    ...{ loadedIn: source.run(), keysSinceMs: facts.keys?.sinceMs ?? nowMs, cover: new Set(facts.cover) },
    ...{ scopes, holds, load: undefined, staged: undefined },
  });
  return 'loaded';
}

/** Every subject that is named anywhere gets a scope, if an empty one. */
function scopesOf({ scopes, posted, openHolds }: Load): ReadonlyMap<string, ScopeState> {
  const own = new Map(openHolds.map((hold) => [hold.jobId, hold]));
  const fields = [...posted.map(({ scope, subject }) => scopeField(scope, subject)), ...openHolds.flatMap(fieldsOf)];
  const states = new Map(fields.map((field) => [field, openScope([], neverAsked)]));
  for (const { scope, subject, limits } of scopes) {
    const field = scopeField(scope, subject);
    const holds = [...own.values()].filter((hold) => fieldsOf(hold).includes(field));
    const rows = posted.filter((row) => scopeField(row.scope, row.subject) === field);
    const stateOf = (limit: Limit) =>
      recorded(
        limit,
        rows.findLast(({ name }) => name === limit.name),
        heldOf(limit, holds),
      );
    states.set(field, openScope(limits, stateOf));
  }
  return states;
}

function neverAsked(): never {
  throw new Error('a scope without limits has no states');
}

function heldOf({ kind, unit, period }: Limit, holds: readonly OpenHold[]): bigint {
  return holds.reduce((sum, { amounts, acceptedAtMs }) => {
    const counts = kind === 'inFlight' || (period !== undefined && acceptedAtMs >= period.startsAtMs);
    return counts ? sum + amountOf(unit, amounts, 1n) : sum;
  }, 0n);
}

/** Nobody owns a loaded hold until its job is reserved again, and it is held in no period after those of the load. */
function holdsOf({ scopes, openHolds }: Load): ReadonlyMap<string, ModelHold> {
  const ends = scopes.flatMap(({ limits }) => limits.flatMap(({ period }) => period?.endsAtMs ?? []));
  const lastMs = Math.min(Infinity, ...ends) - 1;
  return new Map(
    openHolds.map(({ jobId, acceptedAtMs, ...hold }) => [
      jobId,
      { ...hold, owner: '', keyHash: '', learns: false, madeAtMs: Math.min(acceptedAtMs, lastMs) },
    ]),
  );
}
