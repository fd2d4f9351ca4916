import { describe, expect, it } from '@jest/globals';
import { jobIdTimeMs, type ModelFile } from '@sluice/contracts';
import { createJobClock } from './job-clock.js';
import { countSubmission, createJobMessages, type CountedSubmission } from './job-message.js';

const facts = { maxInputTokens: 100, maxOutputTokens: 40, description: 'a model' } as ModelFile;
const tokenizer = { encode: (text: string) => new Int32Array(text.length), count: (text: string) => text.length };
const model = { name: 'm', version: '1', pool: 'p', description: '', classes: ['standard'], facts, tokenizer };
const principal = {
  ...{ tenantId: 'acme', apiKeyId: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', plan: 'demo', timeZone: 'UTC' },
  ...{ overrides: {}, keyLimits: {} },
};
const submission = { model: 'm', input: ['hello', 'you'], class: 'standard' as const };

/** Messages where a token costs 2 nano-USD, estimates hold 7 tokens of output, and prices may be unknown. */
function messages({ ready = true, hasBudget = true, nanoUsdPerToken = 2 } = {}) {
  return createJobMessages({
    clock: createJobClock(),
    prices: { ready, amountNanoUsd: ({ inputTokens, outputTokens }) => nanoUsdPerToken * (inputTokens + outputTokens) },
    estimates: { outputTokens: ({ estimate, maxOutputTokens }) => (estimate === 'exact' ? maxOutputTokens : 7) },
    tenantLimits: { estimateOf: () => ({ quantile: 0.9, floorTokens: 1 }), hasBudget: () => hasBudget },
    jobTtlMs: 60_000,
  });
}

describe('a counted submission', () => {
  it('has the tokens of all texts, and the output cap of each', () => {
    expect(countSubmission(principal, submission, model)).toMatchObject({ inputTokens: 8, maxOutputTokens: 80 });
    const capped = countSubmission(principal, { ...submission, maxOutputTokens: 3 }, model);
    expect(capped.maxOutputTokens).toBe(6);
  });
});

describe('the message of a job', () => {
  const counted: CountedSubmission = countSubmission(principal, submission, model);

  it('holds what is estimated, in tokens and money, until its deadline', () => {
    const message = messages()(counted);
    expect(message).toMatchObject({ reservedTokens: 15, reservedNanoUsd: 30, maxOutputTokens: 80 });
    expect(message.expiresAtMs).toBe(jobIdTimeMs(message.jobId) + 60_000);
  });

  it('takes the deadline that the submission asks for', () => {
    const message = messages()({ ...counted, submission: { ...submission, expiresIn: 5 } });
    expect(message.expiresAtMs).toBe(jobIdTimeMs(message.jobId) + 5_000);
  });

  it('is not made without prices where a budget applies, and is where none does', () => {
    expect(() => messages({ ready: false })(counted)).toThrow(expect.objectContaining({ code: 'quota_unavailable' }));
    const message = messages({ ready: false, hasBudget: false })(counted);
    expect(message.reservedTokens).toBe(15);
    expect(message).not.toHaveProperty('reservedNanoUsd');
  });

  it('tells that it costs nothing where prices are known', () => {
    expect(messages({ nanoUsdPerToken: 0 })(counted)).toHaveProperty('reservedNanoUsd', 0);
  });
});
