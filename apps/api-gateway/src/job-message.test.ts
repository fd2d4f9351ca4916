import { describe, expect, it } from '@jest/globals';
import { jobIdTimeMs, type ModelFile, type TensorModelFile } from '@sluice/contracts';
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

describe('a counted submission of tensors', () => {
  const about = { name: 'm', description: '', licence: '', source: '', task: 'tensors', precision: 'int8' } as const;
  const tensorFacts: TensorModelFile = {
    ...about,
    inputs: [{ name: 'x', datatype: 'UINT8', shape: [-1] }],
    outputs: [
      { name: 'fixed', datatype: 'UINT8', shape: [3, 4] },
      { name: 'free', datatype: 'UINT8', shape: [-1, 4] },
    ],
    ...{ elementsPerToken: 5, maxInputTokens: 100, maxOutputTokens: 40 },
  };
  const x = { name: 'x', datatype: 'UINT8' as const, shape: [1], data: 'AA==' };
  const input = { tensors: [x], outputEncoding: 'json' as const };

  function count(maxOutputTokens: number | undefined, changed: Partial<TensorModelFile> = {}): number {
    const asked = { ...submission, input, ...(maxOutputTokens !== undefined && { maxOutputTokens }) };
    return countSubmission(principal, asked, { ...model, facts: { ...tensorFacts, ...changed } }).maxOutputTokens;
  }

  it('may ask for as few tokens as the outputs of fixed shape have, and for no fewer', () => {
    expect([count(undefined), count(3)]).toEqual([40, 3]);
    const fields = [{ field: 'maxOutputTokens', reason: 'must be at least 3: m never gives less' }];
    for (const few of [0, 2]) {
      expect(() => count(few)).toThrow(expect.objectContaining({ code: 'invalid_request', fields }));
    }
  });

  it('asks for at least one token where all outputs may be empty', () => {
    const free = { outputs: [{ name: 'free', datatype: 'UINT8' as const, shape: [-1] }] };
    expect(count(1, free)).toBe(1);
    expect(() => count(0, free)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  it('may ask for none where the model does not count its outputs', () => {
    expect(count(0, { maxOutputTokens: 0 })).toBe(0);
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
