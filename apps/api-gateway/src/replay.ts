import {
  EXCHANGES,
  HEADERS,
  jobIdTimeMs,
  overridesSchema,
  ServiceError,
  type AcceptedMessage,
} from '@sluice/contracts';
import type { Publisher } from '@sluice/broker';
import type { DeadLetterRecord, Principal, Store } from '@sluice/store';
import type { Admission } from './admission.js';
import { notReplayable, readDeadMessage, replayOf, submissionOf } from './dead-message.js';
import { sha256 } from './submission.js';

export interface ReplayOptions {
  readonly store: Pick<
    Store,
    'findDeadLetter' | 'markReplayed' | 'findJob' | 'findJobByKey' | 'findTenant' | 'listApiKeys'
  >;
  readonly admission: Admission;
  readonly publisher: Pick<Publisher, 'publish'>;
  /** Unix milliseconds. */
  readonly now: () => number;
}

export interface ReplayRequest {
  readonly id: number;
  /** Why, for people. */
  readonly note: string;
}

/**
 * Does the work of a dead letter again, once; see docs/decisions/0008-replay.md. Returns the letter as it is then, marked.
 *
 * @throws ServiceError `dead_letter_not_found`, `not_replayable`, or what an admission throws; the letter is open then.
 */
export type Replay = (request: ReplayRequest) => Promise<DeadLetterRecord>;

/**
 * ```
 * letter of a job ──▶ recorded under its key? ─no─▶ admission under the key `replay <of> <epoch>` ─▶ mark
 *                                  └─yes────────────────────────────────────────────────────────────▲
 * letter of a fact ─▶ publish to `results` again ─────────────────────────────────────────────────▶ mark
 * ```
 *
 * The mark comes last. Whatever is repeated because it is missing finds the job by the key, or publishes a fact twice,
 * which records it once.
 */
export function createReplay(options: ReplayOptions): Replay {
  const { store, admission, publisher, now } = options;

  async function find(id: number): Promise<DeadLetterRecord> {
    const letter = await store.findDeadLetter(id);
    if (letter) return letter;
    throw new ServiceError('dead_letter_not_found', 'No such dead letter.', {
      fields: [{ field: 'id', reason: 'names no dead letter' }],
    });
  }

  /** Only what has ended for want of being done is done again. */
  async function requireFailed({ tenantId, jobId }: AcceptedMessage): Promise<void> {
    const record = await store.findJob(tenantId, jobId);
    if (!record) throw notReplayable('There is no record of the job.');
    if (record.state === 'failed' || record.state === 'expired') return;
    if (record.state === 'queued') throw notReplayable('The job has not ended yet.', { state: record.state });
    throw notReplayable(`The job is ${record.state}.`, { state: record.state });
  }

  async function principalOf({ tenantId, apiKeyId }: AcceptedMessage): Promise<Principal> {
    const [tenant, keys] = await Promise.all([store.findTenant(tenantId), store.listApiKeys(tenantId)]);
    const key = keys.find((candidate) => candidate.apiKeyId === apiKeyId);
    if (!tenant || !key) throw notReplayable('The tenant or the API key of the job does not exist any more.');
    if (key.revokedAtMs !== undefined) throw notReplayable('The API key of the job was revoked.');
    if ((key.expiresAtMs ?? Infinity) <= now()) throw notReplayable('The API key of the job has expired.');
    const overrides = overridesSchema.safeParse(tenant.overrides).data;
    if (overrides === undefined || key.keyLimits === undefined) {
      throw new ServiceError('quota_unavailable', 'The limits of the tenant or the API key cannot be read.');
    }
    return { tenantId, apiKeyId, plan: tenant.plan, timeZone: tenant.timeZone, overrides, keyLimits: key.keyLimits };
  }

  async function admitAgain(message: AcceptedMessage): Promise<string> {
    const replay = replayOf(message);
    const idempotencyKey = `replay ${replay.of} ${replay.epoch}`;
    const { tenantId } = message;
    const sinceMs = jobIdTimeMs(replay.of);
    const earlier = await store.findJobByKey({ tenantId, keyHash: sha256(idempotencyKey), sinceMs });
    if (earlier) return earlier.jobId;
    await requireFailed(message);
    const principal = await principalOf(message);
    const { job } = await admission({ principal, submission: submissionOf(message), idempotencyKey, replay });
    return job.id;
  }

  async function republish({ type, messageId, attempts, payload, jobId = '' }: DeadLetterRecord): Promise<void> {
    await publisher.publish({
      exchange: EXCHANGES.results,
      routingKey: type,
      type,
      messageId: messageId || jobId,
      body: payload,
      // The next attempt: if it dies again, that is a letter of its own.
      headers: { [HEADERS.attempt]: attempts + 1 },
    });
  }

  return async function replay({ id, note }) {
    const letter = await find(id);
    if (letter.replay) {
      const { atMs, jobId } = letter.replay;
      throw notReplayable('It was replayed before.', { replayedAt: new Date(atMs).toISOString(), replayedAs: jobId });
    }
    const dead = readDeadMessage(letter);
    const jobId = dead.kind === 'job' ? await admitAgain(dead.message) : undefined;
    if (dead.kind === 'fact') await republish(letter);
    // False when somebody else marked it meanwhile: with the same job, because the key is the same.
    await store.markReplayed({ id, note, jobId });
    return find(id);
  };
}
