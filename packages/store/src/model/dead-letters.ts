import { isUuid } from '@sluice/contracts';
import type {
  DeadLetter,
  DeadLetterQuery,
  DeadLetterRecord,
  DeadLetterSummary,
  DeletedLetters,
  Replay,
} from '../dead-letters.js';
import { storableText } from '../storable.js';
import { asStored } from './record-facts.js';
import type { Tables } from './tables.js';

const MAX_LIMIT = 1_000;

/** `DeadLetters.recordDeadLetter`. */
export function recordDeadLetter({ deadLetters }: Tables, nowMs: number, letter: DeadLetter): void {
  const kept = [...deadLetters.values()];
  const { queue, reason, type, messageId, jobId, tenantId, payload } = letter;
  // n.b. the sequence of the ids goes on in PostgreSQL when a letter is there already; nobody depends on it.
  const id = (kept.at(-1)?.id ?? 0) + 1;
  const record: DeadLetterRecord = {
    ...letter,
    id,
    recordedAtMs: nowMs,
    queue: storableText(queue),
    reason: storableText(reason),
    type: storableText(type),
    messageId: storableText(messageId),
    jobId: jobId !== undefined && isUuid(jobId) ? jobId : undefined,
    tenantId: tenantId === undefined ? undefined : storableText(tenantId),
    headers: asStored(letter.headers),
    payload: Buffer.from(payload),
    keptBytes: payload.length,
    replay: undefined,
  };
  if (!kept.some((other) => isSame(other, record))) deadLetters.set(id, record);
}

function isSame(a: DeadLetterRecord, b: DeadLetterRecord): boolean {
  return a.queue === b.queue && a.messageId === b.messageId && a.attempts === b.attempts && a.payload.equals(b.payload);
}

/** `DeadLetters.listDeadLetters`. */
export function listDeadLetters({ deadLetters }: Tables, query: DeadLetterQuery): readonly DeadLetterSummary[] {
  return [...deadLetters.values()]
    .reverse()
    .filter((letter) => matches(query, letter))
    .slice(0, Math.min(query.limit, MAX_LIMIT))
    .map(({ headers: _headers, payload: _payload, ...summary }) => summary);
}

function matches(query: DeadLetterQuery, letter: DeadLetterRecord): boolean {
  const { status, beforeId = Infinity } = query;
  return (
    letter.id < beforeId &&
    (status === undefined || (status === 'open') === (letter.replay === undefined)) &&
    (query.queue === undefined || letter.queue === query.queue) &&
    (query.reason === undefined || letter.reason === query.reason) &&
    (query.tenantId === undefined || letter.tenantId === query.tenantId) &&
    (query.jobId === undefined || letter.jobId === query.jobId)
  );
}

/** `DeadLetters.markReplayed`. */
export function markReplayed({ deadLetters }: Tables, nowMs: number, { id, note, jobId }: Replay): boolean {
  const letter = deadLetters.get(id);
  if (letter === undefined || letter.replay !== undefined) return false;
  deadLetters.set(id, { ...letter, replay: { atMs: nowMs, note: storableText(note), jobId } });
  return true;
}

/** `DeadLetters.deleteDeadLetters`. */
export function deleteDeadLetters(
  { deadLetters }: Tables,
  { beforeMs, limit }: { readonly beforeMs: number; readonly limit: number },
): DeletedLetters {
  const old = [...deadLetters.values()].filter(({ recordedAtMs }) => recordedAtMs < beforeMs).slice(0, limit);
  for (const { id } of old) deadLetters.delete(id);
  return { deleted: old.length, open: old.filter(({ replay }) => replay === undefined).length };
}
