import { describe, expect, it } from '@jest/globals';
import { newJobId } from './ids.js';
import {
  acceptedBy,
  acceptedMessageSchema,
  askedOf,
  completedMessageSchema,
  type AcceptedMessage,
  type CompletedMessage,
} from './messages.js';

const accepted: AcceptedMessage = {
  jobId: newJobId(),
  tenantId: 'acme',
  apiKeyId: '7b6a1f8e-3c0e-4f0a-9d55-0d8f0c3b7c11',
  model: 'use-lite-en',
  class: 'standard',
  input: ['a', 'b'],
  inputTokens: 2,
  maxOutputTokens: 0,
  reservedTokens: 2,
  reservedNanoUsd: 40,
  expiresAtMs: 1_800_000_000_000,
  metadata: { team: 'search', retries: 3, urgent: false },
};

describe('messages', () => {
  it('survive JSON', () => {
    expect(acceptedMessageSchema.parse(JSON.parse(JSON.stringify(accepted)))).toEqual(accepted);
  });

  it.each([
    ['a tenant id that would split a Redis hash tag', { tenantId: 'a}b' }],
    ['a job id that is not a UUIDv7', { jobId: '7b6a1f8e-3c0e-4f0a-9d55-0d8f0c3b7c11' }],
    ['a negative count', { inputTokens: -1 }],
    ['a fraction', { reservedTokens: 0.5 }],
    ['a count beyond the maximum', { reservedTokens: 100_000_001 }],
    ['an unknown field', { prompt: 'x' }],
    ['a class that does not exist', { class: 'urgent' }],
  ])('refuse %s', (_name, change) => {
    expect(acceptedMessageSchema.safeParse({ ...accepted, ...change }).success).toBe(false);
  });

  it('refuse a completion without a terminal state', () => {
    const {
      input: _i,
      inputTokens: _t,
      maxOutputTokens: _m,
      reservedTokens: _r,
      reservedNanoUsd: _n,
      expiresAtMs,
      metadata: _d,
      ...whose
    } = accepted;
    const completed = {
      ...whose,
      state: 'succeeded',
      usage: { inputTokens: 2, outputTokens: 0, cachedTokens: 0 },
      attempt: 1,
      finishedAtMs: expiresAtMs,
    };
    expect(completedMessageSchema.safeParse(completed).success).toBe(true);
    expect(completedMessageSchema.safeParse({ ...completed, state: 'running' }).success).toBe(false);
  });

  it.each([
    ['everything', { idempotency: { keyHash: 'k', fingerprint: 'f' }, replay: { of: accepted.jobId, epoch: 2 } }],
    ['nothing that is optional', { metadata: undefined, reservedNanoUsd: undefined }],
  ])('bring the accepted one along with the completed one, when it has %s', (_what, changes) => {
    const job = JSON.parse(JSON.stringify({ ...accepted, ...changes })) as AcceptedMessage;
    const { jobId, tenantId, apiKeyId, model, reservedTokens, reservedNanoUsd } = job;
    const completed: CompletedMessage = {
      ...{ jobId, tenantId, apiKeyId, model, class: job.class, reservedTokens, accepted: askedOf(job) },
      ...(reservedNanoUsd !== undefined && { reservedNanoUsd }),
      ...{ state: 'expired', usage: { inputTokens: 0, outputTokens: 0, cachedTokens: 0 }, attempt: 1, finishedAtMs: 1 },
    };
    const { input: _input, ...withoutInput } = job;
    expect(acceptedBy(completedMessageSchema.parse(JSON.parse(JSON.stringify(completed))))).toEqual(withoutInput);
    expect(acceptedBy({ ...completed, accepted: undefined })).toBeUndefined();
  });
});
