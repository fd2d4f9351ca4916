import { MOST_ATTEMPTS, SNAPSHOT_MARGIN_MS } from './bounds.js';
import { shareWrite } from './connection.js';
import { definitionsOf, scopesOf } from './definitions.js';
import { tenantKeys } from './keys.js';
import { statusesOf } from './limit-status.js';
import type { Limit, LimitStatus, ScopedLimits } from './limits.js';
import type { Nodes } from './nodes.js';
import type { JobSnapshot, Learned, Reservation, ReserveOutcome } from './quota.js';
import { readScope, scopeField } from './scope-state.js';
import type { ScriptReply } from './scripts.js';

/** Where the learned quantile and then the three scopes stand in a reply. */
const LEARNED = 4;
const FIRST_SCOPE = 5;

type ReadSnapshot = (tenantId: string, jobId: string) => Promise<JobSnapshot | undefined>;

/** Makes `reserve` of the quota. */
export function createReserve(nodes: Nodes, keyPrefix: string, readSnapshot: ReadSnapshot) {
  /** Definitions are sent only when asked for: at a change of the limits, and when a period has ended. */
  function send(reservation: Reservation, withDefinitions: boolean): Promise<ScriptReply> {
    const { tenantId, jobId, owner, apiKeyId, model, amounts, holdTtlMs, idempotency, quantile } = reservation;
    const keys = tenantKeys(keyPrefix, tenantId);
    const definitions = scopesOf(reservation.scopes, reservation).map(definitionsOf);
    const [ofTenant = 0, ofKey = 0, ofModel = 0] = definitions.map(({ version }) => version);
    const { keyHash = '', fingerprint = '', ttlMs = 0, checked = false } = idempotency ?? {};
    const learns = reservation.learn === true ? 1 : 0;
    return nodes.run(keys.quota, ({ redis, era }) => {
      shareWrite(redis);
      return redis.quota_reserveBuffer(
        // KEYS
        ...[keys.quota, keys.expiries, keys.job(jobId), keys.idempotency(keyHash), keys.learned],
        // ARGV
        era,
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
        ...['t', ofTenant, scopeField('apiKey', apiKeyId), ofKey, scopeField('model', model), ofModel],
        reservation.acceptedAtMs ?? '',
        ...(withDefinitions ? definitions.map(({ json }) => json) : []),
      );
    });
  }

  /** Frees the key of a job that was never accepted. */
  async function free({ tenantId, idempotency }: Reservation, jobId: string): Promise<void> {
    const keys = tenantKeys(keyPrefix, tenantId);
    await nodes.run(keys.quota, ({ redis, era }) =>
      redis.quota_freeBuffer(
        ...[keys.quota, keys.job(jobId), keys.idempotency(idempotency?.keyHash ?? '')],
        ...[era, jobId],
      ),
    );
  }

  async function reserveOnce(reservation: Reservation): Promise<ReserveOutcome | 'again'> {
    let reply = await send(reservation, false);
    if (String(reply[0]) === 'define') reply = await send(reservation, true);
    const [name, nowMs, about, clearsIn] = reply;
    const [outcome, subject] = [String(name), String(about)];
    const read = limitsReader(reservation, reply);
    // n.b. getters: a spread object would compute the statuses at once.
    switch (outcome) {
      case 'reserved':
        return {
          outcome,
          nowMs,
          get limits() {
            return read();
          },
          ...learnedOf(reply),
        };
      case 'refused': {
        const limit = namedLimit(reservation.scopes, read(), subject);
        const clearsInMs = clearsIn === -1 ? undefined : Number(clearsIn);
        return { outcome, limit, clearsInMs, nowMs, ...learnedOf(reply), limits: read() };
      }
      case 'exists':
      case 'conflict': {
        const isHeld = clearsIn !== 0;
        const snapshot =
          outcome === 'exists' || !isHeld ? await readSnapshot(reservation.tenantId, subject) : undefined;
        // A load has dropped its hold, so that the job is either not recorded, and never will be; or it has ended.
        const mayBeDropped = !isHeld && (!snapshot || snapshot.state === 'reserved');
        if (mayBeDropped && reservation.idempotency?.checked) {
          await free(reservation, subject);
          return 'again';
        }
        if (mayBeDropped && snapshot) return { outcome: 'key_unknown' };
        if (outcome === 'conflict') return { outcome, jobId: subject };
        return {
          ...{ outcome, jobId: subject, snapshot, nowMs },
          get limits() {
            return read();
          },
        };
      }
      case 'stale':
        return { outcome, clearsInMs: Number(clearsIn), nowMs };
      case 'key_unknown':
      case 'not_loaded':
        return { outcome };
      default:
        throw new Error(`reserve answered "${outcome}"`);
    }
  }

  return async function reserve(reservation: Reservation): Promise<ReserveOutcome> {
    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
      const outcome = await reserveOnce(reservation);
      if (outcome !== 'again') return outcome;
    }
    throw new Error(`the idempotency key of job ${reservation.jobId} cannot be freed`);
  };
}

/** The statuses, computed when first read: most callers never do. */
function limitsReader(reservation: Reservation, reply: ScriptReply): () => readonly LimitStatus[] {
  let limits: readonly LimitStatus[] | undefined;
  return () => (limits ??= readLimits(reservation, reply));
}

const SCOPES = ['tenant', 'apiKey', 'model'] as const;

function readLimits({ scopes }: Reservation, reply: ScriptReply): readonly LimitStatus[] {
  const stored = scopes.map(({ scope, limits }) => {
    const packed = reply[FIRST_SCOPE + SCOPES.indexOf(scope)];
    // The limits of the caller come first, in their order.
    return Buffer.isBuffer(packed) ? readScope(packed, namesOf(limits)) : undefined;
  });
  const statuses = statusesOf(scopes, stored, reply[1]);
  if (!statuses) throw new Error('the scopes of an accepted reservation lack a limit');
  return statuses;
}

const names = new WeakMap<readonly Limit[], readonly string[]>();

function namesOf(limits: readonly Limit[]): readonly string[] {
  const known = names.get(limits) ?? limits.map(({ name }) => name);
  names.set(limits, known);
  return known;
}

/** The limit that a refusal names as "<number of its scope> <its number in the scope>", both from 1. */
function namedLimit(scopes: readonly ScopedLimits[], limits: readonly LimitStatus[], subject: string): LimitStatus {
  const [scopeNumber = 0, number = 0] = subject.split(' ').map(Number);
  const scope = SCOPES[scopeNumber - 1];
  const limit = limits.filter((status) => status.scope === scope)[number - 1];
  if (!limit) throw new Error(`refused by "${subject}", which is not a limit of ${scopes.length} scopes`);
  return limit;
}

function learnedOf(reply: ScriptReply): { readonly learned?: Learned } {
  const text = reply[LEARNED];
  if (!Buffer.isBuffer(text)) return {};
  const [outputTokens = 0, samples = 0] = text.toString().split(' ').map(Number);
  return { learned: { outputTokens, samples } };
}
