import type { StoredLimit, TenantState } from '@sluice/quota';
import type { QuotaModel } from '@sluice/quota/model';
import type { Scenario } from '../scenario/scenario.js';
import type { Checker } from './invariant.js';
import type { Rule } from './rules.js';

/** When a job was first held, in virtual time and by Redis' clock (milliseconds). */
export interface FirstHeld {
  readonly tenantId: string;
  readonly atMs: number;
  readonly redisMs: number;
  readonly tokens: number;
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

/** Looks into Redis after each command that changes a tenant: no limit is passed, not for a moment. */
export function createRedisWatch(options: RedisWatchOptions): RedisWatch {
  const { quota, scenario, checker, elapsedMs, redisNowMs } = options;
  const firstHeld = new Map<string, FirstHeld>();
  const maxima = new Map(options.rules.map((rule) => [`${rule.tenant.tenantId} ${rule.scope} ${rule.name}`, rule.max]));

  function noteHolds(tenantId: string, { holds }: TenantState): void {
    for (const [jobId, { amounts }] of holds) {
      if (firstHeld.has(jobId)) continue;
      firstHeld.set(jobId, { tenantId, atMs: elapsedMs(), redisMs: redisNowMs(), tokens: amounts.tokens });
    }
  }

  function checkLimit(tenantId: string, limit: StoredLimit): void {
    if (limit.kind === 'rate') return;
    const max = maxima.get(`${tenantId} ${limit.scope} ${limit.name}`);
    const { held, used, overage } = limit;
    if (max === undefined) return;
    const holds = held >= 0 && used >= 0 && held + used <= max + overage;
    checker.check(
      'redis-within-limits',
      holds,
      () => `${tenantId} ${limit.scope} ${limit.subject} ${limit.name}: ${held} held, ${used} used of ${max}`,
    );
  }

  return {
    firstHeld,
    afterCommand(command) {
      if (!CHANGING.has(command)) return;
      for (const { tenantId } of scenario.tenants) {
        const state = quota.inspect(tenantId);
        if (!state) continue;
        noteHolds(tenantId, state);
        for (const limit of state.limits) checkLimit(tenantId, limit);
      }
    },
  };
}
