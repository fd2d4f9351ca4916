import { describe, expect, it } from '@jest/globals';
import { completedMessageSchema, newJobId, type AcceptedMessage } from '@sluice/contracts';
import { expired, failed } from './completion.js';

const message: AcceptedMessage = {
  ...{ jobId: newJobId(), tenantId: 'acme', apiKeyId: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', model: 'm' },
  ...{ class: 'standard', input: 'x', inputTokens: 1, maxOutputTokens: 0, reservedTokens: 1, expiresAtMs: 1 },
};
const attempt = { attempt: 1, modelVersion: undefined, startedAtMs: undefined, finishedAtMs: 2 };

describe('the end of a job', () => {
  it('tells what was held, also when that was nothing', () => {
    const fact = expired({ ...attempt, message: { ...message, reservedNanoUsd: 0 } });
    expect(fact).toMatchObject({ reservedTokens: 1, reservedNanoUsd: 0 });
  });

  it('tells no price of the hold where the gateway knew none, so that nothing is overage', () => {
    expect(expired({ ...attempt, message })).not.toHaveProperty('reservedNanoUsd');
  });

  it('cuts a reason that is longer than a fact may have', () => {
    const fact = failed({ ...attempt, message }, 'inference_failed', 'x'.repeat(10_000));
    expect(completedMessageSchema.parse(fact)).toMatchObject({ error: { detail: 'x'.repeat(2_000) } });
  });

  it('brings along what the job asked for, in case that its accepted fact was lost', () => {
    const metadata = { team: 'search' };
    const { accepted } = expired({ ...attempt, message: { ...message, metadata } });
    expect(accepted).toEqual({ inputTokens: 1, maxOutputTokens: 0, expiresAtMs: 1, metadata });
  });
});
