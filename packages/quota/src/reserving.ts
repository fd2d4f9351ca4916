import { shareWrite } from './connection.js';
import { definitionsOf, scopesOf } from './definitions.js';
import { tenantKeys } from './keys.js';
import { statusesOf } from './limit-status.js';
import type { LimitStatus, ScopedLimits } from './limits.js';
import type { Nodes } from './nodes.js';
import type { JobSnapshot, Learned, Reservation, ReserveOutcome } from './quota.js';
import { readScope, scopeField } from './scope-state.js';
import type { ScriptReply } from './scripts.js';
import { checkAmounts, checkCount, checkText } from './values.js';

/** Snapshots outlive the key that leads to them. */
const SNAPSHOT_MARGIN_MS = 60_000;
/** Where the learned quantile and then the three scopes stand in a reply. */
const LEARNED = 4;
const FIRST_SCOPE = 5;

type ReadSnapshot = (tenantId: string, jobId: string) => Promise<JobSnapshot | undefined>;

/** Makes `reserve` of the quota. */
export function createReserve(nodes: Nodes, keyPrefix: string, readSnapshot: ReadSnapshot) {
  function send(reservation: Reservation): Promise<ScriptReply> {
    const { tenantId, jobId, owner, apiKeyId, model, amounts, holdTtlMs, idempotency, quantile } = reservation;
    const keys = tenantKeys(keyPrefix, tenantId);
    const [tenantLimits, keyLimits, modelLimits] = scopesOf(reservation.scopes, reservation).map(definitionsOf);
    const { keyHash = '', fingerprint = '', ttlMs = 0, checked = false } = idempotency ?? {};
    const learns = reservation.learn === true ? 1 : 0;
    return nodes.run(keys.quota, ({ redis, runId }) => {
      shareWrite(redis);
      return redis.quota_reserveBuffer(
        // KEYS
        ...[keys.quota, keys.expiries, keys.job(jobId), keys.idempotency(keyHash), keys.learned],
        // ARGV
        runId,
        jobId,
        owner,
        `${keyHash}\n${apiKeyId}\n${model}\n${amounts.tokens} ${amounts.nanoUsd} ${learns} `,
        amounts.tokens,
        amounts.nanoUsd,
        holdTtlMs,
        reservation.facts,
        Math.max(holdTtlMs, ttlMs) + SNAPSHOT_MARGIN_MS,
        keyHash,
        fingerprint,
        ttlMs,
        checked ? 1 : 0,
        model,
        quantile ?? '',
        ...['t', tenantLimits?.version ?? 0, tenantLimits?.json ?? ''],
        ...[scopeField('apiKey', apiKeyId), keyLimits?.version ?? 0, keyLimits?.json ?? ''],
        ...[scopeField('model', model), modelLimits?.version ?? 0, modelLimits?.json ?? ''],
      );
    });
  }

  async function reserveOnce(reservation: Reservation): Promise<ReserveOutcome | 'vanished'> {
    const reply = await send(reservation);
    const [outcome, nowMs, subject, clearsIn] = [String(reply[0]), reply[1], String(reply[2]), reply[3]];
    switch (outcome) {
      case 'reserved':
        return { outcome, nowMs, ...learnedOf(reply), ...limitsOf(reservation, reply) };
      case 'refused': {
        const read = limitsOf(reservation, reply);
        const limit = namedLimit(reservation.scopes, read.limits, subject);
        const clearsInMs = clearsIn === -1 ? undefined : Number(clearsIn);
        return { outcome, limit, clearsInMs, nowMs, ...learnedOf(reply), limits: read.limits };
      }
      case 'exists': {
        const snapshot = await readSnapshot(reservation.tenantId, subject);
        if (!snapshot) return 'vanished';
        return { outcome, jobId: subject, snapshot, nowMs, ...limitsOf(reservation, reply) };
      }
      case 'conflict':
        return { outcome, jobId: subject };
      case 'key_unknown':
      case 'not_loaded':
        return { outcome };
      default:
        throw new Error(`reserve answered "${outcome}"`);
    }
  }

  return async function reserve(reservation: Reservation): Promise<ReserveOutcome> {
    // The job may be dropped between the two round trips of a replay; the second time it is new.
    for (let attempt = 1; attempt <= 2; attempt++) {
      const outcome = await reserveOnce(reservation);
      if (outcome !== 'vanished') return outcome;
    }
    throw new Error(`the snapshot of job ${reservation.jobId} or of its twin was lost before its time`);
  };
}

/** The statuses, computed when first read: most callers never do. */
function limitsOf(reservation: Reservation, reply: ScriptReply): { readonly limits: readonly LimitStatus[] } {
  let limits: readonly LimitStatus[] | undefined;
  return {
    get limits() {
      limits ??= readLimits(reservation, reply);
      return limits;
    },
  };
}

const SCOPES = ['tenant', 'apiKey', 'model'] as const;

function readLimits({ scopes }: Reservation, reply: ScriptReply): readonly LimitStatus[] {
  const stored = scopes.map(({ scope }) => {
    const packed = reply[FIRST_SCOPE + SCOPES.indexOf(scope)];
    return Buffer.isBuffer(packed) ? readScope(packed) : undefined;
  });
  const statuses = statusesOf(scopes, stored, reply[1]);
  if (!statuses) throw new Error('the scopes of an accepted reservation lack a limit');
  return statuses;
}

/** The limit that a refusal names as "<number of the scope> <name>". */
function namedLimit(scopes: readonly ScopedLimits[], limits: readonly LimitStatus[], subject: string): LimitStatus {
  const scope = SCOPES[Number(subject[0]) - 1];
  const limit = limits.find((status) => status.scope === scope && status.name === subject.slice(2));
  if (!limit) throw new Error(`refused by "${subject}", which is not a limit of ${scopes.length} scopes`);
  return limit;
}

function learnedOf(reply: ScriptReply): { readonly learned?: Learned } {
  const text = reply[LEARNED];
  if (!Buffer.isBuffer(text)) return {};
  const [outputTokens = 0, samples = 0] = text.toString().split(' ').map(Number);
  return { learned: { outputTokens, samples } };
}

/** Throws a RangeError for what cannot be kept. */
export function checkReservation(reservation: Reservation): void {
  const { jobId, owner, apiKeyId, model, amounts, holdTtlMs, idempotency, quantile } = reservation;
  checkText('jobId', jobId);
  checkText('owner', owner);
  checkText('apiKeyId', apiKeyId);
  checkText('model', model);
  checkAmounts(amounts);
  checkCount('holdTtlMs', holdTtlMs);
  scopesOf(reservation.scopes, reservation).forEach(definitionsOf);
  if (quantile !== undefined && !(quantile > 0 && quantile < 1))
    throw new RangeError('quantile must be within 0 and 1');
  if (!idempotency) return;
  checkText('keyHash', idempotency.keyHash);
  checkCount('ttlMs', idempotency.ttlMs);
}
