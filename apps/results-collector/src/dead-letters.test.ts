import { describe, expect, it } from '@jest/globals';
import { acceptedMessage, completedMessage, onTheWire } from '../test/messages.js';
import { endOfJob } from './dead-letters.js';
import { decodeFact } from './facts.js';

const job = acceptedMessage();
const accepted = decodeFact(onTheWire(job)).fact;
const completed = decodeFact(onTheWire(completedMessage(job))).fact;
const at = { attempt: 5, nowMs: 1_800_000_000_000 };

describe('a dead message', () => {
  it('ends the job that it is, without usage', () => {
    const death = { reason: 'inference_timeout: 30 s', source: 'work.cpu.standard' };
    expect(endOfJob(accepted, death, at)).toEqual({
      jobId: job.jobId,
      tenantId: job.tenantId,
      apiKeyId: job.apiKeyId,
      model: job.model,
      class: job.class,
      state: 'failed',
      usage: { inputTokens: 0, outputTokens: 0, cachedTokens: 0 },
      error: { code: 'inference_timeout', detail: '30 s' },
      attempt: 5,
      finishedAtMs: at.nowMs,
      // n.b. without the accepted fact, which is booked before: older collectors may take this end.
      ...{ reservedTokens: job.reservedTokens, reservedNanoUsd: 0 },
    });
  });

  it('that only told of an accepted job does not end it', () => {
    expect(endOfJob(accepted, { reason: 'delivery_limit', source: 'results' }, at)).toBeUndefined();
  });

  it('that told of a completed job does not end it once more, so that nothing goes round', () => {
    expect(endOfJob(completed, { reason: 'delivery_limit', source: 'results' }, at)).toBeUndefined();
    expect(endOfJob(completed, { reason: 'unroutable', source: undefined }, at)).toBeUndefined();
    expect(endOfJob(completed, { reason: 'rejected', source: 'work.cpu.standard' }, at)).toBeUndefined();
  });

  it('that cannot be read ends nothing', () => {
    expect(endOfJob(undefined, { reason: 'malformed_message', source: 'results' }, at)).toBeUndefined();
  });
});
