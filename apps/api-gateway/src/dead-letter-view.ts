import type { DeadLetterRecord, DeadLetterSummary } from '@sluice/store';

/** Members of messages that hold what tenants sent or got; shown only to who asks for the payload. */
const PRIVATE = ['input', 'output'];

/** A dead letter as operators see it. Times are ISO 8601 in UTC. */
export function letterView(letter: DeadLetterSummary) {
  const { id, queue, reason, attempts, type, messageId, jobId, tenantId, payloadBytes, keptBytes, replay } = letter;
  return {
    id,
    object: 'dead_letter',
    status: replay ? 'replayed' : 'open',
    ...{ queue, reason, attempts, type, messageId, jobId, tenantId, payloadBytes, keptBytes },
    recordedAt: iso(letter.recordedAtMs),
    ...(replay && { replay: { at: iso(replay.atMs), note: replay.note, jobId: replay.jobId } }),
  };
}

/**
 * With headers and what the message says, apart from the tenant's texts; with `withPayload` also the payload as it was,
 * texts included: `{ encoding: 'utf-8' | 'base64', content }`.
 */
export function letterDetails(letter: DeadLetterRecord, withPayload: boolean) {
  return {
    ...letterView(letter),
    headers: letter.headers,
    message: publicPart(letter.payload),
    ...(withPayload && { payload: payloadView(letter.payload) }),
  };
}

function publicPart(payload: Buffer): object | undefined {
  const value = parse(payload);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value).filter(([name]) => !PRIVATE.includes(name)));
}

function parse(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return undefined;
  }
}

function payloadView(payload: Buffer) {
  const text = payload.toString();
  // n.b. bytes that are no UTF-8 would not come back as they were.
  if (Buffer.from(text).equals(payload)) return { encoding: 'utf-8', content: text };
  return { encoding: 'base64', content: payload.toString('base64') };
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
