import { describe, expect, it } from '@jest/globals';
import type { AcceptedMessage, TensorModelFile } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { acceptedMessage, tensorModel } from '../../test/fixtures.js';
import type { ServedTensorModel } from '../models/served-models.js';
import { jobWorkOf } from './job-work.js';

const logger = createLogger({ app: 'test', level: 'silent' });

/** A version of the model whose `model.yaml` says this. */
function versionWith(facts: Partial<TensorModelFile>): ServedTensorModel {
  const { key, model } = tensorModel();
  return { key, model: { ...model, file: { ...model.file, ...facts } } };
}

const bytesOf = (...shape: number[]) => [{ name: 'x', datatype: 'UINT8' as const, shape }];
const outputOf = (...shape: number[]) => [{ name: 'y', datatype: 'UINT8' as const, shape }];

/** A job with that many bytes, counted as the gateway does. */
function jobOf(length: number, overrides: Partial<AcceptedMessage> = {}, tensor: object = {}): AcceptedMessage {
  const data = Buffer.alloc(length).toString('base64');
  const tensors = [{ name: 'x', datatype: 'UINT8' as const, shape: [length], data, ...tensor }];
  return acceptedMessage({ input: { tensors, outputEncoding: 'json' }, inputTokens: length, ...overrides });
}

describe('a job of tensors', () => {
  it.each<[string, Partial<TensorModelFile>]>([
    ['has fewer tokens', { maxInputTokens: 4 }],
    ['has another length', { inputs: bytesOf(4) }],
  ])('waits for another version when what the served one takes %s and admission took the job', (_what, facts) => {
    expect(jobWorkOf(jobOf(5), versionWith(facts), logger)).toMatchObject({ code: 'model_unavailable' });
    expect(jobWorkOf(jobOf(4), versionWith(facts), logger)).not.toHaveProperty('code');
  });

  it.each<[string, AcceptedMessage, string]>([
    ['has more tokens than it says', jobOf(101, { inputTokens: 5 }), 'input_too_long'],
    ['has a wrong length and more tokens than it says', jobOf(5, { inputTokens: 4 }), 'inference_failed'],
    ['has another type', jobOf(5, {}, { datatype: 'INT8' }), 'inference_failed'],
    ['has other axes', jobOf(5, {}, { shape: [1, 5] }), 'inference_failed'],
    ['has other data than its shape says', jobOf(105, {}, { data: 'AAAA' }), 'inference_failed'],
  ])('that %s is wrong for all versions', (_what, message, code) => {
    const inputs = message.inputTokens < 100 ? bytesOf(4) : bytesOf(-1);
    const served = versionWith(code === 'input_too_long' ? {} : { inputs });
    expect(jobWorkOf(message, served, logger)).toMatchObject({ code });
  });

  it('may give what was held for it, also where its version may give less', () => {
    const served = versionWith({ maxOutputTokens: 2, outputs: outputOf(-1) });
    const work = jobWorkOf(jobOf(5, { maxOutputTokens: 3 }), served, logger);
    if ('code' in work) throw new Error(work.detail);
    const ran = (length: number) => ({
      state: 'computed' as const,
      tensors: [{ shape: [length], bytes: Buffer.alloc(length) }],
    });
    expect(work.result(ran(3)).usage.outputTokens).toBe(3);
    expect(() => work.result(ran(4))).toThrow('The outputs have 4 tokens, the job may produce 3.');
  });
});
