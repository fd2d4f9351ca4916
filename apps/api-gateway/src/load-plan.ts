import {
  limitsWith,
  modelLimits,
  type LimitChanges,
  type LimitScope,
  type LimitSet,
  type Plan,
} from '@sluice/contracts';
import { limitsOf, type Limit, type OpenHold, type Posted, type ScopedLimits } from '@sluice/quota';
import type { Measure, QuotaFacts } from '@sluice/store';

/** Whose use is to be loaded. */
export interface LoadSubject {
  /** With the tenant's overrides. */
  readonly plan: Plan;
  readonly timeZone: string;
  /** API keys of the tenant that have limits of their own. */
  readonly keyLimits: ReadonlyMap<string, LimitChanges>;
  /** Models that can be used. */
  readonly models: readonly string[];
  readonly nowMs: number;
}

/** What to ask PostgreSQL about a tenant, and what its answer means for the limits. */
export interface LoadPlan {
  readonly measures: readonly Measure[];
  /**
   * Names of limits that every subject of their scope has: one of them that is on a subject without a state has not been
   * used. A limit that only some subjects have is not among them, so that its first use there is looked up.
   */
  readonly cover: readonly string[];
  /** Every subject that has use, an open hold, or a limit that `cover` does not vouch for; and what each has used. */
  readonly statesOf: (facts: QuotaFacts) => LoadedStates;
}

export interface LoadedStates {
  readonly scopes: readonly ScopedLimits[];
  readonly posted: readonly Posted[];
  readonly openHolds: readonly OpenHold[];
}

/** What each subject of a scope may use. */
interface ScopeSets {
  readonly scope: LimitScope;
  readonly subjects: ReadonlyMap<string, readonly Limit[]>;
  /** Of every other subject. */
  readonly others: readonly Limit[] | undefined;
}

export function planLoad({ plan, timeZone, keyLimits, models, nowMs }: LoadSubject): LoadPlan {
  const limits = (set: LimitSet, scope: LimitScope): readonly Limit[] => limitsOf(set, scope, timeZone, nowMs);
  const keySets = [...keyLimits].map(([id, changes]) => [id, limitsWith(plan.perApiKey, changes)] as const);
  const named = new Set([...models, ...Object.keys(plan.perModel).filter((model) => model !== '*')]);
  const scopes: readonly ScopeSets[] = [
    { scope: 'tenant', subjects: new Map([['', limits(plan.limits, 'tenant')]]), others: undefined },
    {
      scope: 'apiKey',
      subjects: new Map(keySets.map(([id, set]) => [id, limits(set, 'apiKey')])),
      others: limits(plan.perApiKey, 'apiKey'),
    },
    {
      scope: 'model',
      subjects: new Map([...named].map((model) => [model, limits(modelLimits(plan, model), 'model')])),
      others: limits(plan.perModel['*'] ?? {}, 'model'),
    },
  ];

  const measures: Measure[] = [];
  const indexes = new Map<string, number>();
  for (const { scope, subjects, others = [] } of scopes) {
    for (const limit of [...subjects.values(), others].flat()) {
      const measure = measureOf(scope, limit);
      if (!measure || indexes.has(keyOf(measure))) continue;
      indexes.set(keyOf(measure), measures.push(measure) - 1);
    }
  }
  const cover = scopes.flatMap(coverOf);
  const covered = new Set(cover);

  function postedOf(scope: LimitScope, subject: string, limits: readonly Limit[], use: Use): readonly Posted[] {
    return limits.flatMap((limit): Posted[] => {
      const measure = measureOf(scope, limit);
      const row = measure && use.get(useKey(indexes.get(keyOf(measure)) ?? -1, subject));
      // n.b. what a bucket lacks has a fraction; Redis counts whole units.
      return row ? [{ scope, subject, name: limit.name, used: Math.ceil(row.used), overage: row.overage }] : [];
    });
  }

  return {
    measures,
    cover,
    statesOf(facts) {
      const use: Use = new Map(facts.amounts.map((row) => [useKey(row.measure, row.subject), row]));
      const states = scopes.flatMap(({ scope, subjects, others = [] }): ScopedLimits[] => {
        const seen = seenSubjects(scope, facts, measures);
        return [...new Set([...seen, ...subjects.keys()])]
          .map((subject) => ({ scope, subject, limits: subjects.get(subject) ?? others }))
          .filter(({ subject, limits: own }) => {
            return own.length > 0 && (seen.has(subject) || own.some(({ name }) => !covered.has(name)));
          });
      });
      const posted = states.flatMap(({ scope, subject, limits: own }) => postedOf(scope, subject, own, use));
      return { scopes: states, posted, openHolds: facts.openHolds.map(toOpenHold) };
    },
  };
}

type Use = ReadonlyMap<string, QuotaFacts['amounts'][number]>;

function useKey(measure: number, subject: string): string {
  return `${measure} ${subject}`;
}

/** Undefined for what follows from the open holds alone. */
function measureOf(scope: LimitScope, { unit, max, windowMs, period }: Limit): Measure | undefined {
  if (period) return { scope, unit, window: { kind: 'period', fromMs: period.startsAtMs, toMs: period.endsAtMs } };
  if (windowMs === undefined) return undefined;
  return { scope, unit, window: { kind: 'rate', max, windowMs } };
}

function keyOf(measure: Measure): string {
  return JSON.stringify(measure);
}

function coverOf({ subjects, others }: ScopeSets): readonly string[] {
  const sets = [...subjects.values(), ...(others ? [others] : [])];
  const [first = [], ...rest] = sets.map((limits) => limits.map(({ name }) => name));
  return first.filter((name) => rest.every((names) => names.includes(name)));
}

/** Whom the facts name. The tenant is always named: what is loaded without use is loaded all the same. */
function seenSubjects(scope: LimitScope, facts: QuotaFacts, measures: readonly Measure[]): ReadonlySet<string> {
  if (scope === 'tenant') return new Set(['']);
  const rows = facts.amounts.filter(({ measure }) => measures[measure]?.scope === scope);
  const holders = facts.openHolds.map(({ apiKeyId, model }) => (scope === 'apiKey' ? apiKeyId : model));
  return new Set([...rows.map(({ subject }) => subject), ...holders]);
}

function toOpenHold({ reservedTokens, reservedNanoUsd, ...hold }: QuotaFacts['openHolds'][number]): OpenHold {
  return { ...hold, amounts: { tokens: reservedTokens, nanoUsd: reservedNanoUsd } };
}
