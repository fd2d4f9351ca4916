import type { LimitKind, LimitScope, LimitUnit, TerminalState } from '@sluice/contracts';
import type { HoldRef } from './expired-holds.js';
import type { LimitStatus, ScopedLimits } from './limits.js';

/** What a job holds or has used, beside the one request that it always is. Whole numbers from 0. */
export interface Amounts {
  readonly tokens: number;
  readonly nanoUsd: number;
}

/** What a job asks for. */
export interface Reservation {
  readonly tenantId: string;
  readonly jobId: string;
  /** Who may release the hold: an id of this process, or of this request. */
  readonly owner: string;
  readonly apiKeyId: string;
  readonly model: string;
  /** The hold. */
  readonly amounts: Amounts;
  /** At most one each for the tenant, for `apiKeyId` and for `model`. A scope that is absent here has no limits. */
  readonly scopes: readonly ScopedLimits[];
  /**
   * When the ledger has the job accepted (Unix milliseconds): quotas count it in the period of that time, here and there. By
   * the clock of Redis when absent.
   */
  readonly acceptedAtMs?: number;
  /** After this many milliseconds the hold counts as leaked and `expiredHolds` finds it; it is held until then and after. */
  readonly holdTtlMs: number;
  /** What is known of the job, for `snapshot`; kept as long as the hold and the idempotency key, never interpreted. */
  readonly facts: string;
  /** Whether the output of the job teaches what this tenant and model use: true for jobs that may produce output. */
  readonly learn?: boolean;
  /** Asks for this quantile (0.5 … 0.999) of the output tokens that the tenant's jobs on the model really had. */
  readonly quantile?: number;
  readonly idempotency?: {
    /** Hash of the Idempotency-Key, and of whatever else makes it unique within the tenant. */
    readonly keyHash: string;
    /** Hash of the request: the same key with another fingerprint is a conflict. */
    readonly fingerprint: string;
    readonly ttlMs: number;
    /**
     * True when the records were asked for the key since the last answer and do not know it: it is free, then, unless a
     * job is held under it.
     */
    readonly checked?: boolean;
  };
}

/** What jobs of a tenant on a model really produced. */
export interface Learned {
  /** The quantile that was asked for, rounded up by at most a fifth. */
  readonly outputTokens: number;
  /** How many jobs taught it; older ones count less and less. */
  readonly samples: number;
}

/**
 * What Redis knows of a job. `reserved`: its hold exists; it may or may not be queued. `queued`: its publish was
 * confirmed. `running`: a worker has been at it for a moment. Then the terminal state.
 */
export interface JobSnapshot {
  readonly state: 'reserved' | 'queued' | 'running' | TerminalState;
  /** As given to `reserve`. */
  readonly facts: string;
}

export type ReserveOutcome =
  | {
      readonly outcome: 'reserved';
      /** Of the named limits in their order; computed when first read. */
      readonly limits: readonly LimitStatus[];
      /** When it happened by the clock of Redis (Unix milliseconds). */
      readonly nowMs: number;
      /** When a quantile was asked for and at least one job has taught it. */
      readonly learned?: Learned;
    }
  /** Nothing was consumed. */
  | {
      readonly outcome: 'refused';
      /** The one that clears last, or one that never will. */
      readonly limit: LimitStatus;
      /**
       * When the job would fit, in milliseconds: a bucket holds enough, a period ends; of `inFlight` when the hold that
       * expires first does, at the latest. Undefined when the job is larger than the maximum: never.
       */
      readonly clearsInMs: number | undefined;
      readonly limits: readonly LimitStatus[];
      readonly nowMs: number;
      readonly learned?: Learned;
    }
  /**
   * The job (or one with the same idempotency key) was reserved before. If its hold is open, it is `owner`'s now. One whose
   * idempotency key is known and whose snapshot says `reserved` is always held: nothing else was lost.
   */
  | {
      readonly outcome: 'exists';
      readonly jobId: string;
      /** Undefined when it was lost, as for a key that a load has restored: then the records know the job. */
      readonly snapshot: JobSnapshot | undefined;
      readonly limits: readonly LimitStatus[];
      readonly nowMs: number;
    }
  /** The idempotency key belongs to this other job with another fingerprint. */
  | { readonly outcome: 'conflict'; readonly jobId: string }
  /**
   * The idempotency key may have been lost: it is not here, and the last load did not restore all that are younger than
   * the key's lifetime. Or it leads to a job that a load has dropped, because the records did not know it. Look for the
   * key in the records and reserve again with `checked`. Nothing was consumed.
   */
  | { readonly outcome: 'key_unknown' }
  /**
   * By Redis' clock another period of a quota is current than `acceptedAtMs`, or the caller's limits, are of. Nothing was
   * consumed. A job that is accepted after `clearsInMs` milliseconds lies in the current one.
   */
  | { readonly outcome: 'stale'; readonly clearsInMs: number; readonly nowMs: number }
  /** The tenant, or one of the limits, is unknown to this process of Redis: load the tenant and try again. */
  | { readonly outcome: 'not_loaded' };

/** How a job ended. Call `settle` only when that is recorded: a load that begins later relies on the records. */
export interface Settlement {
  readonly tenantId: string;
  readonly jobId: string;
  /** What the job really used; may be above the hold. */
  readonly tokens: number;
  readonly nanoUsd: number;
  /** The output's share of `tokens`; of a job that succeeded it is learned from. */
  readonly outputTokens: number;
  readonly state: TerminalState;
}

/**
 * `missing`: the tenant is loaded and there is no such hold, so it was ended before. `early`: the tenant is not loaded;
 * a load under way will know of it, a later one finds it in the records.
 */
export type SettleOutcome = 'settled' | 'missing' | 'early';

/** What a load must present. */
export interface LoadTicket {
  readonly tenantId: string;
  readonly token: string;
}

/** What the ledger says of one limit of one subject. */
export interface Posted {
  readonly scope: LimitScope;
  readonly subject: string;
  readonly name: string;
  /**
   * Rate: the units that the bucket lacks now, those of open holds included; may be above the maximum. Quota: what the
   * settled jobs of the current period used.
   */
  readonly used: number;
  /** Quota: the part of `used` that went beyond the holds. */
  readonly overage: number;
}

/** A hold as the ledger knows it. */
export interface OpenHold {
  readonly jobId: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly amounts: Amounts;
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
}

/** What the ledger says of a tenant. */
export interface Load {
  readonly ticket: LoadTicket;
  /** Every subject that has limits and has posted use or open holds; others begin unused. */
  readonly scopes: readonly ScopedLimits[];
  /** Names of all limits that `posted` was asked about: a subject that is absent from it has used nothing of these. */
  readonly cover: readonly string[];
  readonly posted: readonly Posted[];
  readonly openHolds: readonly OpenHold[];
  /** Idempotency keys of recorded jobs; read after the fence. Without them every unknown key may have been lost. */
  readonly keys?: LoadedKeys;
}

export interface LoadedKeys {
  /** Those that are here already stay as they are; of two entries of one key the first counts. */
  readonly entries: readonly LoadedKey[];
  /** The entries are all keys of the jobs that were accepted since then (Unix milliseconds). */
  readonly sinceMs: number;
}

export interface LoadedKey {
  readonly keyHash: string;
  readonly fingerprint: string;
  readonly jobId: string;
  /** When the key is free again (Unix milliseconds). */
  readonly expiresAtMs: number;
}

/** A limit as it is kept. */
export interface StoredLimit {
  readonly scope: LimitScope;
  readonly subject: string;
  readonly name: string;
  readonly kind: LimitKind;
  readonly unit: LimitUnit;
  /** As in `LimitStatus`, but of the moment of the last change: see `atMs` and `period`. */
  readonly used: number;
  readonly held: number;
  readonly overage: number;
  /** Of a rate: `used` is of this moment (Unix milliseconds), the bucket has been refilling since. */
  readonly atMs?: number;
  /** Of a quota: the period that was current at the last change. Jobs accepted since `sinceMs` count. */
  readonly period?: { readonly id: string; readonly sinceMs: number; readonly endsAtMs: number };
}

export interface StoredHold {
  readonly apiKeyId: string;
  readonly model: string;
  readonly amounts: Amounts;
  /** As `reserve` or the load said (Unix milliseconds). */
  readonly acceptedAtMs: number;
}

/** All that is kept of a tenant, read at one moment. */
export interface TenantState {
  readonly limits: readonly StoredLimit[];
  /** By job id. */
  readonly holds: ReadonlyMap<string, StoredHold>;
}

/**
 * Reserves, settles, and knows what is left. Every method rejects with `quota_unavailable` when Redis fails, and with
 * a RangeError for a value that cannot be kept exactly.
 */
export interface Quota {
  /**
   * Takes the amounts from every limit of the scopes or from none, in one round trip. Two when the job exists, and when
   * Redis has to be told the limits: at the first job after they changed or a period ended.
   */
  reserve(reservation: Reservation): Promise<ReserveOutcome>;
  /**
   * Gives back a hold whose job will not run, while `owner` still owns it, and forgets idempotency key and snapshot.
   * False when it does not exist or is another's.
   */
  release(hold: HoldRef & { readonly owner: string }): Promise<boolean>;
  /** Notes that the publish of a reserved job was confirmed. False when it is further on, or unknown. */
  confirm(job: HoldRef): Promise<boolean>;
  /** Notes that jobs are being run, in one pipeline; those that have ended or are unknown stay as they are. */
  running(jobs: readonly HoldRef[]): Promise<void>;
  /**
   * Ends holds with what was really used, in one pipeline, and wakes the waiters of each job. Outcomes are in the order
   * of the settlements. After a rejection any number of them may have happened: repeat the whole batch.
   */
  settle(settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]>;
  /** In the order of the scopes and their limits. Undefined when the tenant or one of the limits is not loaded. */
  status(tenantId: string, scopes: readonly ScopedLimits[]): Promise<readonly LimitStatus[] | undefined>;
  /**
   * Begins to load a tenant: it is not loaded from now on, and what is settled from now on is noted. Supersedes a load
   * that is under way. Read the ledger after this, never before.
   */
  beginLoad(tenantId: string): Promise<LoadTicket>;
  /**
   * The same where it is needed, decided at one moment however many ask. `loaded`: the tenant is, and knows all these
   * limits. `busy`: another load is alive; ask again after a while. It counts as alive for two seconds after its beginning
   * and after each `keepLoad`, so one that died keeps the others waiting no longer.
   */
  beginLoad(tenantId: string, limits: readonly ScopedLimits[]): Promise<LoadTicket | 'loaded' | 'busy'>;
  /** A sign that a load is alive; to be given several times in two seconds. False when it was superseded. */
  keepLoad(ticket: LoadTicket): Promise<boolean>;
  /** Gives a load up, so that nobody waits for it. */
  leaveLoad(ticket: LoadTicket): Promise<void>;
  /**
   * Sets a tenant's state from the ledger: all of it, whatever was there before. `superseded` when another load has
   * begun, Redis was lost or restarted, or ten minutes have passed since the ticket: nothing changed, begin anew. Keys
   * may have been set even so; they are true all the same.
   * Rejects with `quota_unavailable` when a period has turned since the ledger was read.
   */
  load(facts: Load): Promise<'loaded' | 'superseded'>;
  /** Forces the next reserve to load the tenant. Supersedes a load that is under way. */
  unload(tenantId: string): Promise<void>;
  /** Undefined when the tenant is not loaded. Reads all of it in one command: not for hot paths. */
  inspect(tenantId: string): Promise<TenantState | undefined>;
  /** A page of the tenants that were ever loaded; a tenant may appear twice. Begin and end with cursor '0'. */
  tenants(cursor: string): Promise<{ readonly cursor: string; readonly tenantIds: readonly string[] }>;
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
