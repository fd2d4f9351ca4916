import { isUuid } from '@sluice/contracts';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';
import { storableJson, storableText } from './storable.js';

/** A message that could not be processed, as it arrived. */
export interface DeadLetter {
  /** Where it was. */
  readonly queue: string;
  readonly reason: string;
  readonly attempts: number;
  readonly type: string;
  readonly messageId: string;
  /** The job it is about, where that could be read; anything that is not a UUID is kept out. */
  readonly jobId: string | undefined;
  /** Whose it is, where that could be read. */
  readonly tenantId?: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  /** The body or its beginning; kept as it is given. */
  readonly payload: Buffer;
  /** Length of the whole body in bytes. */
  readonly payloadBytes: number;
}

/** A dead letter that was kept, without what can be large. Times are Unix milliseconds. */
export interface DeadLetterSummary extends Omit<DeadLetter, 'headers' | 'payload' | 'tenantId'> {
  /** Grows with time. */
  readonly id: number;
  readonly tenantId: string | undefined;
  readonly recordedAtMs: number;
  /** Bytes of the payload that were kept; fewer than `payloadBytes` when only its beginning was. */
  readonly keptBytes: number;
  /** Undefined while the letter is open. */
  readonly replay:
    | {
        readonly atMs: number;
        readonly note: string;
        /** The job that runs the dead one again; undefined when the letter was not a job. */
        readonly jobId: string | undefined;
      }
    | undefined;
}

export interface DeadLetterRecord extends DeadLetterSummary, Pick<DeadLetter, 'headers' | 'payload'> {}

export interface DeadLetterQuery {
  /** Both when absent. */
  readonly status?: 'open' | 'replayed' | undefined;
  readonly queue?: string | undefined;
  readonly reason?: string | undefined;
  readonly tenantId?: string | undefined;
  /** No letter matches what is not a UUID. */
  readonly jobId?: string | undefined;
  /** Only letters with a smaller id: the last id of the page before. */
  readonly beforeId?: number | undefined;
  /** 1–1000; more is cut. */
  readonly limit: number;
}

export interface Replay {
  readonly id: number;
  /** Why, for people. */
  readonly note: string;
  /** The job that runs the dead one again. */
  readonly jobId?: string | undefined;
}

export interface DeadLetters {
  /** Keeps a dead letter; one with the same queue, message id, attempts and payload is kept once. */
  recordDeadLetter(letter: DeadLetter): Promise<void>;
  /** Newest first. */
  listDeadLetters(query: DeadLetterQuery): Promise<readonly DeadLetterSummary[]>;
  findDeadLetter(id: number): Promise<DeadLetterRecord | undefined>;
  /** True when the letter was open until now; false when it was replayed before or does not exist. */
  markReplayed(replay: Replay): Promise<boolean>;
  /** Removes letters recorded before a time (Unix milliseconds), oldest first, replayed or not. */
  deleteDeadLetters(options: { readonly beforeMs: number; readonly limit: number }): Promise<DeletedLetters>;
}

/** How many letters were removed, and how many of them nobody had replayed. */
export interface DeletedLetters {
  readonly deleted: number;
  readonly open: number;
}

const MAX_LIMIT = 1_000;

const statements = {
  record: loadStatement('record-dead-letter'),
  list: loadStatement('list-dead-letters'),
  find: loadStatement('find-dead-letter'),
  markReplayed: loadStatement('mark-replayed'),
  delete: loadStatement('delete-dead-letters'),
};

interface SummaryRow {
  readonly dead_letter_id: bigint;
  readonly recorded_at_ms: string;
  readonly queue: string;
  readonly reason: string;
  readonly attempts: number;
  readonly type: string;
  readonly message_id: string;
  readonly job_id: string | null;
  readonly tenant_id: string | null;
  readonly payload_bytes: number;
  readonly kept_bytes: number;
  readonly replayed_at_ms: string | null;
  readonly replay_note: string | null;
  readonly replayed_as: string | null;
}

interface RecordRow extends SummaryRow {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly payload: Buffer;
}

export function createDeadLetters(database: Database): DeadLetters {
  return {
    async recordDeadLetter(letter) {
      await database.run(statements.record, [
        storableText(letter.queue),
        storableText(letter.reason),
        letter.attempts,
        storableText(letter.type),
        storableText(letter.messageId),
        letter.jobId !== undefined && isUuid(letter.jobId) ? letter.jobId : null,
        storableJson(letter.headers),
        letter.payload,
        letter.payloadBytes,
        letter.tenantId === undefined ? null : storableText(letter.tenantId),
      ]);
    },

    async listDeadLetters({ status, queue, reason, tenantId, jobId, beforeId, limit }) {
      if (jobId !== undefined && !isUuid(jobId)) return [];
      const rows = await database.run<SummaryRow & Record<string, unknown>>(statements.list, [
        beforeId ?? Number.MAX_SAFE_INTEGER,
        status ?? null,
        queue ?? null,
        reason ?? null,
        tenantId ?? null,
        jobId ?? null,
        Math.min(limit, MAX_LIMIT),
      ]);
      return rows.map(toSummary);
    },

    async findDeadLetter(id) {
      if (!Number.isSafeInteger(id)) return undefined;
      const [row] = await database.run<RecordRow & Record<string, unknown>>(statements.find, [id]);
      return row && { ...toSummary(row), headers: row.headers, payload: row.payload };
    },

    async markReplayed({ id, note, jobId }) {
      const values = [id, storableText(note), jobId ?? null];
      return (await database.run(statements.markReplayed, values)).length > 0;
    },

    async deleteDeadLetters({ beforeMs, limit }) {
      const values = [beforeMs, limit];
      const [row] = await database.run<DeletedLetters & Record<string, unknown>>(statements.delete, values);
      return row ?? { deleted: 0, open: 0 };
    },
  };
}

function toSummary(row: SummaryRow): DeadLetterSummary {
  const { replayed_at_ms: replayedAtMs } = row;
  return {
    id: Number(row.dead_letter_id),
    recordedAtMs: Number(row.recorded_at_ms),
    queue: row.queue,
    reason: row.reason,
    attempts: row.attempts,
    type: row.type,
    messageId: row.message_id,
    jobId: row.job_id ?? undefined,
    tenantId: row.tenant_id ?? undefined,
    payloadBytes: row.payload_bytes,
    keptBytes: row.kept_bytes,
    replay:
      replayedAtMs === null
        ? undefined
        : { atMs: Number(replayedAtMs), note: row.replay_note ?? '', jobId: row.replayed_as ?? undefined },
  };
}
