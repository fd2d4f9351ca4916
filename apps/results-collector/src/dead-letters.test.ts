import { describe, expect, it } from '@jest/globals';
import { acceptedMessage, completedMessage, onTheWire } from '../test/messages.js';
import { factsOf } from './dead-letters.js';
import { decodeFact } from './facts.js';

const job = acceptedMessage();
const accepted = decodeFact(onTheWire(job)).fact;
const completed = decodeFact(onTheWire(completedMessage(job))).fact;
const at = { attempt: 5, nowMs: 1_800_000_000_000 };

describe('a dead message', () => {
  it('ends the job that it is, without usage', () => {
    const death = { reason: 'inference_timeout: 30 s', source: 'work.cpu.standard' };
    expect(factsOf(accepted, death, at)).toEqual([
      accepted,
      {
        type: 'completed',
        message: {
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
        },
      },
    ]);
  });

  it('that only told of an accepted job does not end it', () => {
    expect(factsOf(accepted, { reason: 'delivery_limit', source: 'results' }, at)).toEqual([accepted]);
  });

  it('that told of a completed job is still believed', () => {
    expect(factsOf(completed, { reason: 'delivery_limit', source: 'results' }, at)).toEqual([completed]);
    expect(factsOf(completed, { reason: 'unroutable', source: undefined }, at)).toEqual([completed]);
  });

  it('that cannot be read says nothing', () => {
    expect(factsOf(undefined, { reason: 'malformed_message', source: 'results' }, at)).toEqual([]);
  });
});
