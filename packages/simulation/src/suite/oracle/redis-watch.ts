import type { LimitScope } from '@sluice/contracts';
import type { QuotaModel } from '@sluice/quota/model';
import type { Scenario } from '../scenario/scenario.js';
import type { Checker } from './invariant.js';
import type { Rule } from './rules.js';

type Kept = ReturnType<QuotaModel['kept']>;
type Scope = Kept['scopes'] extends ReadonlyMap<string, infer State> ? State : never;

/** When a job was first held, in virtual time and by Redis' clock (milliseconds). */
export interface FirstHeld {
  readonly atMs: number;
  readonly redisMs: number;
}

export interface RedisWatch {
  /** To be called at Redis, after each command. */
  afterCommand(command: string): void;
  /** By job: every hold that ever was. */
  readonly firstHeld: ReadonlyMap<string, FirstHeld>;
}

export interface RedisWatchOptions {
  readonly quota: QuotaModel;
  readonly scenario: Scenario;
  readonly rules: readonly Rule[];
  readonly checker: Checker;
  readonly elapsedMs: () => number;
  readonly redisNowMs: () => number;
}

/** Commands that change what is held or used. */
const CHANGING: ReadonlySet<string> = new Set(['reserve', 'settle', 'commit', 'release']);
/** How a scope's field begins. */
const SCOPES: Readonly<Record<string, LimitScope>> = { t: 'tenant', k: 'apiKey', m: 'model' };

/** Looks into Redis after each command that changes a tenant: no limit is passed, not for a moment. */
export function createRedisWatch(options: RedisWatchOptions): RedisWatch {
  const { quota, scenario, checker, elapsedMs, redisNowMs } = options;
  const firstHeld = new Map<string, FirstHeld>();
  const maxima = new Map(options.rules.map((rule) => [`${rule.tenant.tenantId} ${rule.scope} ${rule.name}`, rule.max]));
  /** What was looked at; a scope is never changed, only replaced. */
  const seen = new Set<Scope>();

  function noteHolds({ holds }: Kept): void {
    for (const jobId of holds.keys()) {
      if (!firstHeld.has(jobId)) firstHeld.set(jobId, { atMs: elapsedMs(), redisMs: redisNowMs() });
    }
  }

  function checkScope(tenantId: string, field: string, { limits }: Scope): void {
    for (const [name, { limit, held, used, overage }] of limits) {
      const max = maxima.get(`${tenantId} ${SCOPES[field.charAt(0)]} ${name}`);
      if (max === undefined || limit.kind === 'rate') continue;
      const holds = held >= 0n && used >= 0n && held + used <= BigInt(max) + overage;
      checker.check(
        'redis-within-limits',
        holds,
        () => `${tenantId} ${field} ${name}: ${held} held, ${used} used of ${max}`,
      );
    }
  }

  return {
    firstHeld,
    afterCommand(command) {
      if (!CHANGING.has(command)) return;
      for (const { tenantId } of scenario.tenants) {
        const kept = quota.kept(tenantId);
        noteHolds(kept);
        for (const [field, scope] of kept.scopes) {
          if (seen.has(scope)) continue;
          seen.add(scope);
          checkScope(tenantId, field, scope);
        }
      }
    },
  };
}
