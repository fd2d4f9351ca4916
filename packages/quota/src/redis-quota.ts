import type { Logger } from '@sluice/runtime';
import { MOST_NOTES, PAGE, SNAPSHOT_TTL_MS } from './bounds.js';
import type { RedisConnection } from './connection.js';
import { createExpiredHolds, type HoldRef } from './expired-holds.js';
import { doneChannel, holdField, tenantKeys, tenantsKey } from './keys.js';
import { statusesOf } from './limit-status.js';
import { createLoading } from './loading.js';
import { createNodes } from './nodes.js';
import type { JobSnapshot, Quota, Settlement, SettleOutcome } from './quota.js';
import { checkReservation } from './reservation.js';
import { createReserve } from './reserving.js';
import { namesField, readNames, readScope, scopeField } from './scope-state.js';
import type { ScriptReply } from './scripts.js';
import { onRedis } from './unavailable.js';
import { checkAmounts, checkCount } from './values.js';
import { definitionsOf } from './definitions.js';

export interface QuotaOptions {
  readonly redis: RedisConnection;
  /** First part of every key. */
  readonly keyPrefix: string;
  readonly logger: Logger;
  /** How long the terminal state of a job can be read at least, in milliseconds; an hour when absent. */
  readonly snapshotTtlMs?: number;
}

/** Quota on Redis. Several may share a connection; it stays the caller's to close. */
export function createQuota({ redis, keyPrefix, logger, snapshotTtlMs = SNAPSHOT_TTL_MS }: QuotaOptions): Quota {
  const nodes = createNodes(redis);
  const keysOf = (tenantId: string) => tenantKeys(keyPrefix, tenantId);
  const quotaKey = ({ tenantId }: { readonly tenantId: string }) => keysOf(tenantId).quota;
  const reserve = createReserve(nodes, keyPrefix, readSnapshot);
  const loading = createLoading({ nodes, redis, keyPrefix, logger });
  const findExpiredHolds = createExpiredHolds({ nodes, redis, keyPrefix });

  async function readSnapshot(tenantId: string, jobId: string): Promise<JobSnapshot | undefined> {
    const key = keysOf(tenantId).job(jobId);
    const text = await nodes.run(key, ({ redis: node }) => node.get(key));
    if (text === null) return undefined;
    const end = text.indexOf('\n');
    return { state: text.slice(0, end) as JobSnapshot['state'], facts: text.slice(end + 1) };
  }

  function endUnused({ tenantId, jobId }: HoldRef, owner: string | undefined): Promise<boolean> {
    const keys = keysOf(tenantId);
    return nodes.run(keys.quota, async ({ redis: node, era }) => {
      // n.b. a script may only touch keys it was given, and which idempotency key it is stands in the hold.
      const hold = await node.hget(keys.quota, holdField(jobId));
      const [, keyHash = ''] = hold?.split('\n') ?? [];
      const [released] = await node.quota_releaseBuffer(
        ...[keys.quota, keys.expiries, keys.job(jobId), keys.idempotency(keyHash)],
        ...[era, jobId, owner ?? '', owner === undefined ? 1 : 0],
      );
      return released === 1;
    });
  }

  return {
    async reserve(reservation) {
      checkReservation(reservation);
      return onRedis(() => reserve(reservation));
    },

    release: ({ owner, ...hold }) => onRedis(() => endUnused(hold, owner)),
    dropHold: (hold) => onRedis(() => endUnused(hold, undefined)),

    confirm: ({ tenantId, jobId }) =>
      onRedis(async () => {
        const key = keysOf(tenantId).job(jobId);
        const [noted] = await nodes.run(key, (node) => node.redis.quota_progressBuffer(key, 'queued'));
        return noted === 1;
      }),

    running: (jobs) =>
      onRedis(async () => {
        await nodes.runAll(jobs, quotaKey, (pipeline, { tenantId, jobId }) =>
          pipeline.quota_progressBuffer(keysOf(tenantId).job(jobId), 'running'),
        );
      }),

    async settle(settlements) {
      for (const settlement of settlements) {
        checkAmounts(settlement);
        checkCount('outputTokens', settlement.outputTokens);
      }
      return onRedis(async () => {
        const replies = await nodes.runAll<Settlement, ScriptReply>(settlements, quotaKey, (pipeline, ended, node) => {
          const { tenantId, jobId, tokens, nanoUsd, outputTokens, state } = ended;
          const keys = keysOf(tenantId);
          const channel = doneChannel(keyPrefix, tenantId, jobId);
          return pipeline.quota_settleBuffer(
            ...[keys.quota, keys.expiries, keys.job(jobId), keys.load, keys.learned],
            ...[node.era, jobId, tokens, nanoUsd, outputTokens, state, snapshotTtlMs, channel, MOST_NOTES],
          );
        });
        return replies.map(([outcome]) => String(outcome) as SettleOutcome);
      });
    },

    async status(tenantId, scopes) {
      for (const { limits } of scopes) definitionsOf(limits);
      return onRedis(async () => {
        const key = keysOf(tenantId).quota;
        const fields = scopes.flatMap(({ scope, subject }) => {
          const field = scopeField(scope, subject);
          return [field, namesField(field)];
        });
        const reply = await nodes.run(key, (node) => node.redis.quota_statusBuffer(key, node.era, ...fields));
        const [outcome, nowMs, cover, ...packed] = reply;
        if (String(outcome) !== 'loaded') return undefined;
        const stored = scopes.map((_, i) => {
          const [scope, names] = [packed[2 * i], packed[2 * i + 1]];
          return Buffer.isBuffer(scope)
            ? readScope(scope, readNames(Buffer.isBuffer(names) ? names : undefined))
            : undefined;
        });
        const isUnknown = scopes.some(
          ({ limits }, i) => !stored[i] && limits.some(({ name }) => !String(cover).includes(` ${name} `)),
        );
        return isUnknown ? undefined : statusesOf(scopes, stored, nowMs);
      });
    },

    ...loading,

    tenants: (cursor) =>
      onRedis(async () => {
        const [next, tenantIds] = await redis.sscan(tenantsKey(keyPrefix), cursor, 'COUNT', PAGE);
        return { cursor: next, tenantIds };
      }),

    snapshot: (tenantId, jobId) => onRedis(() => readSnapshot(tenantId, jobId)),

    expiredHolds: (query) => onRedis(() => findExpiredHolds(query)),
  };
}
