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
  readonly headers: Readonly<Record<string, unknown>>;
  /** The body or its beginning. */
  readonly payload: Buffer;
  /** Length of the whole body in bytes. */
  readonly payloadBytes: number;
}

export interface DeadLetters {
  /** Keeps a dead letter; one with the same queue, message id, attempts and payload is kept once. */
  recordDeadLetter(letter: DeadLetter): Promise<void>;
}

const recordDeadLetterStatement = loadStatement('record-dead-letter');

export function createDeadLetters(database: Database): DeadLetters {
  return {
    async recordDeadLetter(letter) {
      await database.run(recordDeadLetterStatement, [
        storableText(letter.queue),
        storableText(letter.reason),
        letter.attempts,
        storableText(letter.type),
        storableText(letter.messageId),
        letter.jobId !== undefined && isUuid(letter.jobId) ? letter.jobId : null,
        storableJson(letter.headers),
        letter.payload,
        letter.payloadBytes,
      ]);
    },
  };
}
