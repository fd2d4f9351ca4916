import { describe, expect, it } from '@jest/globals';
import { newJobId, type AcceptedMessage } from '@sluice/contracts';
import type { DeadLetterRecord } from '@sluice/store';
import { readDeadMessage, replayOf, submissionOf } from './dead-message.js';

const message: AcceptedMessage = {
  jobId: newJobId(),
  tenantId: 'acme',
  apiKeyId: '00000000-0000-4000-8000-000000000001',
  model: 'guesslang',
  class: 'batch',
  input: ['one', 'two'],
  inputTokens: 6,
  maxOutputTokens: 10,
  reservedTokens: 16,
  reservedNanoUsd: 0,
  expiresAtMs: 1,
  metadata: { team: 'search' },
};

function letter(changes: Partial<DeadLetterRecord> = {}): DeadLetterRecord {
  const payload = changes.payload ?? Buffer.from(JSON.stringify(message));
  return {
    id: 1,
    queue: 'dead',
    reason: 'inference_crashed',
    attempts: 5,
    type: 'job.accepted.v1',
    messageId: message.jobId,
    jobId: message.jobId,
    tenantId: 'acme',
    headers: {},
    payload,
    payloadBytes: payload.length,
    keptBytes: payload.length,
    recordedAtMs: 0,
    replay: undefined,
    ...changes,
  };
}

const notReplayable = (changes: Partial<DeadLetterRecord>): void => {
  expect(() => readDeadMessage(letter(changes))).toThrow(expect.objectContaining({ code: 'not_replayable' }));
};

describe('a dead letter', () => {
  it('of a work queue or of no queue is its job', () => {
    expect(readDeadMessage(letter())).toEqual({ kind: 'job', message });
    expect(readDeadMessage(letter({ queue: 'unrouted' }))).toEqual({ kind: 'job', message });
    const headers = { 'x-death': [{ queue: 'retry.5s' }, { queue: 'work.text.batch' }] };
    expect(readDeadMessage(letter({ headers }))).toMatchObject({ kind: 'job' });
  });

  it('of the facts is a fact', () => {
    expect(readDeadMessage(letter({ headers: { 'x-dead-source': 'results' } }))).toEqual({ kind: 'fact' });
    expect(readDeadMessage(letter({ headers: { 'x-death': [{ queue: 'results' }] } }))).toEqual({ kind: 'fact' });
    expect(readDeadMessage(letter({ type: 'job.completed.v1' }))).toEqual({ kind: 'fact' });
  });

  it('that looks like a job or a fact, of which the collector knows no job, is neither', () => {
    notReplayable({ jobId: undefined });
    notReplayable({ jobId: undefined, type: 'job.completed.v1' });
    notReplayable({ jobId: undefined, headers: { 'x-dead-source': 'results' } });
    notReplayable({ jobId: newJobId() });
  });

  it('that cannot be read is refused', () => {
    notReplayable({ payload: Buffer.from('{') });
    notReplayable({ payload: Buffer.from('null') });
    notReplayable({ payload: Buffer.from(JSON.stringify({ ...message, surprise: 1 })) });
    notReplayable({ type: 'jobs.started.v1' });
    notReplayable({ keptBytes: 10 });
    for (const death of [null, 7, 'x', {}, { queue: 7 }]) {
      expect(readDeadMessage(letter({ headers: { 'x-death': [death] } }))).toMatchObject({ kind: 'job' });
    }
  });
});

describe('a replay', () => {
  it('asks for what was asked for', () => {
    expect(submissionOf(message)).toEqual({
      model: 'guesslang',
      input: ['one', 'two'],
      maxOutputTokens: 5,
      class: 'batch',
      metadata: { team: 'search' },
    });
  });

  it('counts from the job where it began', () => {
    expect(replayOf(message)).toEqual({ of: message.jobId, epoch: 1 });
    const of = newJobId();
    expect(replayOf({ ...message, replay: { of, epoch: 2 } })).toEqual({ of, epoch: 3 });
  });
});
