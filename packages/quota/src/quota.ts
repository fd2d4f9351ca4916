import type { TerminalState } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { Redis } from 'ioredis';
import { shareWrite } from './connection.js';
import { createExpiredHolds, type HoldRef } from './expired-holds.js';
import { doneChannel, tenantKeys, tenantsKey } from './keys.js';
import { encodeLimits, type Limit, type LimitStatus } from './limits.js';
import { readStatuses } from './replies.js';
import { defineScripts } from './scripts.js';
import { onRedis, unavailable } from './unavailable.js';
import { checkCount, checkText } from './values.js';

/** What a job asks for. */
export interface Reservation {
  readonly tenantId: string;
  readonly jobId: string;
  /** Who may release the hold: an id of this process, or of this request. */
  readonly owner: string;
  /** The worst case in tokens, a whole number from 0. */
  readonly cost: number;
  readonly limits: readonly Limit[];
  /** After this many milliseconds the hold counts as leaked and `expiredHolds` finds it; it is held until then and after. */
  readonly holdTtlMs: number;
  /** What is known of the job, for `snapshot`; kept as long as the hold and the idempotency key, never interpreted. */
  readonly facts: string;
  readonly idempotency?: {
    /** Hash of the Idempotency-Key, and of whatever else makes it unique within the tenant. */
    readonly keyHash: string;
    /** Hash of the request: the same key with another fingerprint is a conflict. */
    readonly fingerprint: string;
    readonly ttlMs: number;
  };
}

/**
 * What Redis knows of a job. `reserved`: its tokens are held; it may or may not be queued. `queued`: its publish was
 * confirmed. Then the terminal state.
 */
export interface JobSnapshot {
  readonly state: 'reserved' | 'queued' | TerminalState;
  /** As given to `reserve`. */
  readonly facts: string;
}

export type ReserveOutcome =
  | { readonly outcome: 'reserved'; readonly limits: readonly LimitStatus[] }
  /**
   * Nothing was consumed. `limit` is the one that clears last, in `clearsInMs`; undefined when the cost is above its
   * maximum, so that it never will.
   */
  | {
      readonly outcome: 'refused';
      readonly limit: string;
      readonly clearsInMs: number | undefined;
      readonly limits: readonly LimitStatus[];
    }
  /** The job (or one with the same idempotency key) was reserved before. If its hold is open, it is `owner`'s now. */
  | {
      readonly outcome: 'exists';
      readonly jobId: string;
      readonly snapshot: JobSnapshot;
      readonly limits: readonly LimitStatus[];
    }
  /** The idempotency key belongs to this other job with another fingerprint. */
  | { readonly outcome: 'conflict'; readonly jobId: string }
  /** Redis knows nothing of the tenant, or of one of the limits: `load` it and try again. */
  | { readonly outcome: 'not_loaded' };

export interface Settlement {
  readonly tenantId: string;
  readonly jobId: string;
  /** What the job really used, a whole number from 0; may be above the hold. */
  readonly tokens: number;
  readonly state: TerminalState;
}

/** `missing`: there is no such hold, because it was settled before or its tenant is not loaded. Nothing changed. */
export type SettleOutcome = 'settled' | 'missing';

/** A hold as the ledger knows it. */
export interface OpenHold {
  readonly jobId: string;
  readonly tokens: number;
  readonly expiresAtMs: number;
  readonly acceptedAtMs: number;
}

/** What the ledger says of a tenant. */
export interface Load {
  readonly tenantId: string;
  readonly limits: readonly Limit[];
  /**
   * By limit name, tokens of settled jobs: of a quota those accepted in the current period, of a rate those accepted
   * within its last window. 0 when absent.
   */
  readonly posted: Readonly<Record<string, number>>;
  readonly openHolds: readonly OpenHold[];
}

/**
 * Reserves tokens, settles them, and knows what is left. Every method rejects with `quota_unavailable` when Redis
 * fails, and with a RangeError for a value that cannot be kept exactly.
 */
export interface Quota {
  /** Holds `cost` on all limits or on none, in one round trip (two when the job exists). */
  reserve(reservation: Reservation): Promise<ReserveOutcome>;
  /**
   * Gives back a hold whose job will not run, while `owner` still owns it, and forgets idempotency key and snapshot.
   * False when it does not exist or is another's.
   */
  release(hold: { readonly tenantId: string; readonly jobId: string; readonly owner: string }): Promise<boolean>;
  /** Notes that the publish of a reserved job was confirmed. False when it is further on, or unknown. */
  confirm(job: HoldRef): Promise<boolean>;
  /**
   * Ends holds with what was really used, in one pipeline, and wakes the waiters of each job. Outcomes are in the order
   * of the settlements. After a rejection any number of them may have happened: repeat the whole batch.
   */
  settle(settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]>;
  /** Undefined when the tenant or one of the limits is not loaded. */
  status(tenantId: string, limits: readonly Limit[]): Promise<readonly LimitStatus[] | undefined>;
  /**
   * Sets a tenant's state from the ledger, never adds to it. Does nothing for a tenant that is loaded, except to add
   * limits that are new to it.
   */
  load(facts: Load): Promise<void>;
  /** What is known of a job; undefined when it is unknown or too old. */
  snapshot(tenantId: string, jobId: string): Promise<JobSnapshot | undefined>;
  /**
   * At most `limit` holds that expired before `nowMs` (Unix milliseconds; now by the clock of Redis when absent). Each
   * call goes on where the last one stopped, so tenants that cannot be cleaned up do not hide the others.
   */
  expiredHolds(query: { readonly nowMs?: number; readonly limit: number }): Promise<readonly HoldRef[]>;
  /** Like `release`, whoever owns the hold: for one whose job the ledger never heard of. */
  dropHold(hold: HoldRef): Promise<boolean>;
}

export interface QuotaOptions {
  readonly redis: Redis;
  /** First part of every key. */
  readonly keyPrefix: string;
  readonly logger: Logger;
  /** How long the terminal state of a job can be read at least, in milliseconds; an hour when absent. */
  readonly snapshotTtlMs?: number;
}

const HOUR_MS = 3_600_000;
/** Snapshots outlive the key that leads to them. */
const SNAPSHOT_MARGIN_MS = 60_000;
/** Where the counts of the limits begin in the replies. */
const COUNTS_OF_RESERVE = 4;
const COUNTS_OF_STATUS = 2;

/** Quota on Redis. Several may share a connection; it stays the caller's to close. */
export function createQuota({ redis, keyPrefix, logger, snapshotTtlMs = HOUR_MS }: QuotaOptions): Quota {
  const commands = defineScripts(redis);
  const findExpiredHolds = createExpiredHolds(redis, keyPrefix);

  async function reserveOnce(reservation: Reservation): Promise<ReserveOutcome | 'vanished'> {
    const { tenantId, jobId, owner, cost, limits, holdTtlMs, idempotency } = reservation;
    const keys = tenantKeys(keyPrefix, tenantId);
    const keyHash = idempotency?.keyHash ?? '';
    const keyTtlMs = idempotency?.ttlMs ?? 0;
    const snapshotTtlMs = Math.max(holdTtlMs, keyTtlMs) + SNAPSHOT_MARGIN_MS;
    shareWrite(redis);
    const reply = await commands.quota_reserve(
      // KEYS
      keys.quota,
      keys.holds,
      keys.expiries,
      keys.job(jobId),
      keys.idempotency(keyHash),
      // ARGV
      jobId,
      owner,
      cost,
      encodeLimits(limits),
      holdTtlMs,
      reservation.facts,
      snapshotTtlMs,
      keyHash,
      idempotency?.fingerprint ?? '',
      keyTtlMs,
    );
    const [outcome, , subject, clearsInMs] = reply;
    const statuses = () => readStatuses(limits, reply, COUNTS_OF_RESERVE);
    switch (outcome) {
      case 'reserved':
        return { outcome, limits: statuses() };
      case 'refused': {
        const clears = clearsInMs === -1 ? undefined : Number(clearsInMs);
        return { outcome, limit: String(subject), clearsInMs: clears, limits: statuses() };
      }
      case 'exists': {
        const snapshot = await readSnapshot(keys.job(String(subject)));
        if (!snapshot) return 'vanished';
        return { outcome, jobId: String(subject), snapshot, limits: statuses() };
      }
      case 'conflict':
        return { outcome, jobId: String(subject) };
      case 'not_loaded':
        return { outcome };
      default:
        throw new Error(`reserve answered "${outcome}"`);
    }
  }

  async function readSnapshot(key: string): Promise<JobSnapshot | undefined> {
    const text = await redis.get(key);
    if (text === null) return undefined;
    const end = text.indexOf('\n');
    return { state: text.slice(0, end) as JobSnapshot['state'], facts: text.slice(end + 1) };
  }

  async function endUnused({ tenantId, jobId }: HoldRef, owner: string | undefined): Promise<boolean> {
    const keys = tenantKeys(keyPrefix, tenantId);
    // n.b. a script may only touch keys it was given, and which idempotency key it is stands in the hold.
    const hold = await redis.hget(keys.holds, jobId);
    if (hold === null) return false;
    const key = hold.slice(0, hold.indexOf('\n'));
    const [released] = await commands.quota_release(
      ...[keys.quota, keys.holds, keys.expiries, keys.job(jobId), keys.idempotency(key)],
      ...[jobId, owner ?? '', owner === undefined ? '1' : '0'],
    );
    return released === 1;
  }

  return {
    async reserve(reservation) {
      checkReservation(reservation);
      return onRedis(async () => {
        // The job may be dropped between the two round trips of a replay; the second time it is new.
        for (let attempt = 1; attempt <= 2; attempt++) {
          const outcome = await reserveOnce(reservation);
          if (outcome !== 'vanished') return outcome;
        }
        throw new Error(`the snapshot of job ${reservation.jobId} or of its twin was lost before its time`);
      });
    },

    release: ({ owner, ...hold }) => onRedis(() => endUnused(hold, owner)),
    dropHold: (hold) => onRedis(() => endUnused(hold, undefined)),

    confirm: ({ tenantId, jobId }) =>
      onRedis(async () => {
        const [noted] = await commands.quota_confirm(tenantKeys(keyPrefix, tenantId).job(jobId), 'queued');
        return noted === 1;
      }),

    async settle(settlements) {
      if (settlements.length === 0) return [];
      for (const { tokens } of settlements) checkCount('tokens', tokens);
      return onRedis(async () => {
        const pipeline = redis.pipeline() as unknown as Pick<typeof commands, 'quota_settle'> &
          ReturnType<Redis['pipeline']>;
        for (const { tenantId, jobId, tokens, state } of settlements) {
          const keys = tenantKeys(keyPrefix, tenantId);
          void pipeline.quota_settle(
            ...[keys.quota, keys.holds, keys.expiries, keys.job(jobId)],
            ...[jobId, tokens, state, snapshotTtlMs, doneChannel(keyPrefix, tenantId, jobId)],
          );
        }
        const replies = (await pipeline.exec()) ?? [];
        return replies.map(([error, reply]) => {
          if (error) throw error;
          return (reply as readonly [SettleOutcome])[0];
        });
      });
    },

    status: (tenantId, limits) =>
      onRedis(async () => {
        const { quota } = tenantKeys(keyPrefix, tenantId);
        const reply = await commands.quota_status(quota, encodeLimits(limits));
        return reply[0] === 'loaded' ? readStatuses(limits, reply, COUNTS_OF_STATUS) : undefined;
      }),

    async load({ tenantId, limits, posted, openHolds }) {
      for (const tokens of Object.values(posted)) checkCount('posted', tokens);
      for (const hold of openHolds) checkCount('tokens', hold.tokens);
      await onRedis(async () => {
        const keys = tenantKeys(keyPrefix, tenantId);
        // First, so that no loaded tenant is ever unknown to the sweeper.
        await redis.sadd(tenantsKey(keyPrefix), tenantId);
        const [outcome] = await commands.quota_load(
          ...[keys.quota, keys.holds, keys.expiries],
          ...[encodeLimits(limits), JSON.stringify(posted), JSON.stringify(openHolds)],
        );
        if (outcome === 'stale')
          throw unavailable(new Error(`the period of tenant ${tenantId} turned while it was loaded`));
        logger.debug({ tenantId, outcome, posted, openHolds: openHolds.length }, 'loaded the quota of a tenant');
      });
    },

    snapshot: (tenantId, jobId) => onRedis(() => readSnapshot(tenantKeys(keyPrefix, tenantId).job(jobId))),

    expiredHolds: (query) => onRedis(() => findExpiredHolds(query)),
  };
}

function checkReservation({ jobId, owner, cost, holdTtlMs, idempotency }: Reservation): void {
  checkText('jobId', jobId);
  checkText('owner', owner);
  checkCount('cost', cost);
  checkCount('holdTtlMs', holdTtlMs);
  if (!idempotency) return;
  checkText('keyHash', idempotency.keyHash);
  checkCount('ttlMs', idempotency.ttlMs);
}
