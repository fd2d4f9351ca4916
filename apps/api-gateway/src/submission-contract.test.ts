import { describe, expect, it } from '@jest/globals';
import { submitMessageSchema } from '@sluice/contracts';
import { parseSubmission } from './submission.js';

const good = { model: 'guesslang', input: 'x' };
const full = { ...good, maxOutputTokens: 5, class: 'batch', metadata: { a: 'b', c: 1, d: true }, expiresIn: 60 };
const tensor = { name: 'x', datatype: 'FP32', shape: [1], data: [1] };
const tensors = { model: 'adder', inputs: [tensor], outputEncoding: 'base64' };

function taken(body: unknown): { readonly gateway: boolean; readonly contract: boolean } {
  const gateway = (): unknown => parseSubmission(body, { maxTexts: 128, maxTensorBytes: 65_536, jobTtlMs: 3_600_000 });
  return { gateway: attempt(gateway), contract: submitMessageSchema.safeParse(body).success };
}

function attempt(work: () => unknown): boolean {
  try {
    return work() !== undefined;
  } catch {
    return false;
  }
}

/** The contract is what docs/asyncapi.yaml tells producers. */
describe('the check of a submission and its contract', () => {
  it('agree on every field that there is', () => {
    expect(Object.keys(submitMessageSchema.shape).sort()).toEqual(
      [...new Set([...Object.keys(full), ...Object.keys(tensors)])].sort(),
    );
    for (const name of Object.keys(full)) {
      const one = { ...good, [name]: full[name as keyof typeof full] };
      expect([name, taken(one)]).toEqual([name, { gateway: true, contract: true }]);
    }
    expect(taken({ ...full, input: ['x', 'y'] })).toEqual({ gateway: true, contract: true });
    expect(taken(tensors)).toEqual({ gateway: true, contract: true });
    expect(taken({ ...tensors, inputs: [{ ...tensor, data: 'AAAAAA==' }] })).toEqual({ gateway: true, contract: true });
    expect(taken({ ...tensors, inputs: [{ ...tensor, shape: [0], data: [] }] })).toEqual({
      gateway: true,
      contract: true,
    });
  });

  it.each([
    {},
    null,
    [],
    'x',
    { input: 'x' },
    { model: 'guesslang' },
    { ...good, extra: 1 },
    { ...good, model: 7 },
    { ...good, input: 7 },
    { ...good, input: [7] },
    { ...good, maxOutputTokens: -1 },
    { ...good, maxOutputTokens: 1.5 },
    { ...good, maxOutputTokens: '5' },
    { ...good, class: 'urgent' },
    { ...good, metadata: [] },
    { ...good, metadata: { a: null } },
    { ...good, metadata: { 'a b': 'c' } },
    { ...good, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 1])) },
    { ...good, metadata: { order: 2 ** 53 } },
    { ...good, expiresIn: 0 },
    { ...good, expiresIn: 1.5 },
    { ...good, outputEncoding: 'json' },
    { ...good, ...tensors },
    { ...tensors, inputs: [] },
    { ...tensors, inputs: {} },
    { ...tensors, inputs: [7] },
    { ...tensors, inputs: [{ ...tensor, parameters: {} }] },
    { ...tensors, inputs: [{ ...tensor, datatype: 'BYTES' }] },
    { ...tensors, inputs: [{ ...tensor, shape: [-1] }] },
    { ...tensors, inputs: [{ ...tensor, shape: [2 ** 31] }] },
    { ...tensors, inputs: [{ ...tensor, shape: new Array<number>(9).fill(1) }] },
    { ...tensors, inputs: [{ ...tensor, data: 7 }] },
    { ...tensors, inputs: new Array(65).fill(tensor) },
    { ...tensors, outputEncoding: 'xml' },
  ])('both refuse %j', (body) => {
    expect(taken(body)).toEqual({ gateway: false, contract: false });
  });
});
