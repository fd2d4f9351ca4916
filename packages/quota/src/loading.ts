import { randomUUID } from 'node:crypto';
import type { Logger } from '@sluice/runtime';
import { ALIVE_MS, KEYS_PER_PIPELINE, TICKET_TTL_MS } from './bounds.js';
import type { RedisConnection } from './connection.js';
import { tenantKeys, tenantsKey } from './keys.js';
import type { ScopedLimits } from './limits.js';
import { planLoad, type LoadPlan } from './load-plan.js';
import type { Nodes } from './nodes.js';
import type { Load, LoadedKey, LoadTicket, Quota } from './quota.js';
import { codeOf, scopeField } from './scope-state.js';
import { readTenant } from './tenant-state.js';
import { onRedis, unavailable } from './unavailable.js';

export interface LoadingOptions {
  readonly nodes: Nodes;
  readonly redis: RedisConnection;
  readonly keyPrefix: string;
  readonly logger: Logger;
}

/**
 * Loads tenants, in steps that are short each:
 *
 * ```
 * begin ─▶ not loaded; settlements leave notes ─▶ set keys ─▶ stage, stage, … ─▶ commit ─▶ loaded
 *             └─ begin, unload, loss or restart of Redis, ten minutes ─▶ superseded
 * ```
 */
export function createLoading({ nodes, redis, keyPrefix, logger }: LoadingOptions) {
  const keysOf = (tenantId: string) => tenantKeys(keyPrefix, tenantId);

  async function setKeys(tenantId: string, entries: readonly LoadedKey[]): Promise<void> {
    const keys = tenantKeys(keyPrefix, tenantId);
    for (let i = 0; i < entries.length; i += KEYS_PER_PIPELINE) {
      await nodes.runAll(
        entries.slice(i, i + KEYS_PER_PIPELINE),
        () => keys.quota,
        (pipeline, { keyHash, jobId, fingerprint, expiresAtMs }) =>
          pipeline.set(keys.idempotency(keyHash), `${jobId}\n${fingerprint}`, 'PXAT', expiresAtMs, 'NX'),
      );
    }
  }

  async function stageAndCommit(facts: Load, plan: LoadPlan): Promise<'loaded' | 'superseded' | 'stale'> {
    const { tenantId, token } = facts.ticket;
    const keys = keysOf(tenantId);
    for (const part of plan.parts) {
      const [outcome] = await nodes.run(keys.quota, (node) =>
        node.redis.quota_stageBuffer(
          ...[keys.load, keys.staged, keys.leaving],
          ...[ticketText(token, node.era), TICKET_TTL_MS, part.scopes],
          ...part.rows,
        ),
      );
      if (String(outcome) === 'superseded') return 'superseded';
    }
    const [outcome, , ended] = await nodes.run(keys.quota, (node) =>
      node.redis.quota_commitBuffer(
        ...[keys.quota, keys.expiries, keys.load, keys.staged, keys.leaving],
        ...[ticketText(token, node.era), node.era, ` ${facts.cover.join(' ')} `],
        ...[plan.startsAtMs, plan.endsAtMs, plan.fields, plan.holds, facts.keys?.sinceMs ?? ''],
      ),
    );
    logger.debug({ tenantId, outcome: String(outcome), holds: plan.holds, ended }, 'loaded the quota of a tenant');
    return String(outcome) as 'loaded' | 'superseded' | 'stale';
  }

  function beginLoad(tenantId: string): Promise<LoadTicket>;
  function beginLoad(tenantId: string, limits: readonly ScopedLimits[]): Promise<LoadTicket | 'loaded' | 'busy'>;
  function beginLoad(tenantId: string, limits?: readonly ScopedLimits[]): Promise<LoadTicket | 'loaded' | 'busy'> {
    const needed = (limits ?? []).flatMap(({ scope, subject, limits: some }) => [
      scopeField(scope, subject),
      JSON.stringify(some.map(({ name, kind, unit }) => [name, codeOf(kind, unit)])),
    ]);
    return onRedis(async () => {
      const keys = keysOf(tenantId);
      const token = randomUUID();
      const [outcome] = await nodes.run(keys.quota, (node) =>
        node.redis.quota_beginBuffer(
          ...[keys.quota, keys.load, keys.staged, keys.leaving],
          ...[ticketText(token, node.era), node.era, TICKET_TTL_MS, ALIVE_MS, limits ? 1 : 0],
          ...needed,
        ),
      );
      if (String(outcome) !== 'begun') return String(outcome) as 'loaded' | 'busy';
      // Before anybody has the ticket, so that no loaded tenant is ever unknown to the sweeper.
      await redis.sadd(tenantsKey(keyPrefix), tenantId);
      return { tenantId, token };
    });
  }

  function keep({ tenantId, token }: LoadTicket, aliveMs: number): Promise<boolean> {
    const key = keysOf(tenantId).load;
    return onRedis(async () => {
      const [kept] = await nodes.run(key, (node) =>
        node.redis.quota_keepBuffer(key, ticketText(token, node.era), aliveMs),
      );
      return kept === 1;
    });
  }

  return {
    beginLoad,
    keepLoad: (ticket: LoadTicket) => keep(ticket, ALIVE_MS),
    leaveLoad: async (ticket: LoadTicket) => {
      await keep(ticket, 0);
    },

    load: async (facts: Load): Promise<'loaded' | 'superseded'> => {
      const plan = planLoad(facts);
      const outcome = await onRedis(async () => {
        await setKeys(facts.ticket.tenantId, facts.keys?.entries ?? []);
        return stageAndCommit(facts, plan);
      });
      const { tenantId } = facts.ticket;
      if (outcome === 'stale')
        throw unavailable(new Error(`the period of tenant ${tenantId} turned while it was loaded`));
      return outcome;
    },

    unload: (tenantId: string): Promise<void> =>
      onRedis(async () => {
        const keys = keysOf(tenantId);
        await nodes.run(keys.quota, async ({ redis: node }) => {
          // n.b. in this order: a load that commits in between would otherwise stay.
          await node.del(keys.load);
          await node.hdel(keys.quota, 'loaded');
        });
      }),

    inspect: (tenantId: string) =>
      onRedis(() => {
        const key = keysOf(tenantId).quota;
        return nodes.run(key, async ({ redis: node, era }) => readTenant(await node.hgetallBuffer(key), era));
      }),
  } satisfies Partial<Quota>;
}

/** Valid only in the Redis process in which it was given out. */
function ticketText(token: string, era: string): string {
  return `${token} ${era}`;
}
