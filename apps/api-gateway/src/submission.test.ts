import { describe, expect, it } from '@jest/globals';
import { isServiceError } from '@sluice/contracts';
import fc from 'fast-check';
import { fingerprint, parseIdempotencyKey, parseSubmission } from './submission.js';

const bounds = { maxTexts: 3, maxTensorBytes: 1_024, jobTtlMs: 60_500 };

function fieldsOf(body: unknown): readonly string[] {
  try {
    parseSubmission(body, bounds);
  } catch (error) {
    if (isServiceError(error)) return error.fields.map(({ field, reason }) => `${field} ${reason}`);
    throw error;
  }
  return [];
}

const good = { model: 'use-lite-en', input: 'hello' };

describe('parseSubmission', () => {
  it('takes one text or several, and fills in the class', () => {
    expect(parseSubmission(good, bounds)).toEqual({ ...good, class: 'standard' });
    expect(parseSubmission({ ...good, input: ['a', 'b'] }, bounds).input).toEqual(['a', 'b']);
  });

  it.each([
    ['null', null, /^body /],
    ['an array', [], /^body /],
    ['a missing model', { input: 'x' }, /^model is required/],
    ['a missing input', { model: 'm' }, /^input is required/],
    ['an empty text', { ...good, input: '' }, /^input must not be empty/],
    ['no texts', { ...good, input: [] }, /^input must not be empty/],
    ['too many texts', { ...good, input: ['a', 'b', 'c', 'd'] }, /^input holds 4 texts/],
    ['an empty text among others', { ...good, input: ['a', ''] }, /^input\.1 must not be empty/],
    ['a number among texts', { ...good, input: ['a', 1] }, /^input\.1 must be a string/],
    ['a number as input', { ...good, input: 5 }, /^input must be a string or an array/],
    ['an object as input', { ...good, input: { length: 1 } }, /^input must be a string or an array/],
    ['a lone surrogate', { ...good, input: 'a\ud800' }, /^input holds half of a surrogate pair/],
    ['an unknown field', { ...good, prompt: 'x' }, /^prompt is not a known field/],
    ['negative tokens', { ...good, maxOutputTokens: -1 }, /^maxOutputTokens /],
    ['a fraction of tokens', { ...good, maxOutputTokens: 1.5 }, /^maxOutputTokens /],
    ['tokens as text', { ...good, maxOutputTokens: '10' }, /^maxOutputTokens /],
    ['no time to live', { ...good, expiresIn: 0 }, /^expiresIn /],
    ['a fraction of a second to live', { ...good, expiresIn: 1.5 }, /^expiresIn /],
    ['a time to live as text', { ...good, expiresIn: '10' }, /^expiresIn /],
    ['a longer life than any job has', { ...good, expiresIn: 61 }, /^expiresIn must be at most 60 seconds/],
    ['an unknown class', { ...good, class: 'urgent' }, /^class must be one of interactive, standard, batch/],
    ['nested metadata', { ...good, metadata: { a: { b: 1 } } }, /^metadata\.a /],
    [
      'a number that was changed',
      { ...good, metadata: { a: 2 ** 53 } },
      /^metadata\.a is a number beyond .* as a string/,
    ],
    ['a number below that', { ...good, metadata: { a: -1e300 } }, /^metadata\.a is a number beyond/],
    ['a label with a space', { ...good, metadata: { 'a b': 1 } }, /^metadata\.a b may hold letters, digits/],
    ['a label that is long', { ...good, metadata: { a: 'x'.repeat(513) } }, /^metadata\.a must have at most 512 char/],
    ['metadata with NUL', { ...good, metadata: { a: 'x\0' } }, /^metadata holds a NUL/],
    ['a very long model name', { ...good, model: 'm'.repeat(64) }, /^model must have at most 63 characters/],
    ['no model name', { ...good, model: '' }, /^model must not be empty/],
  ])('refuses %s', (_name, body, expected) => {
    expect(fieldsOf(body)[0]).toMatch(expected);
  });

  const x = { name: 'x', datatype: 'UINT8', shape: [2, 2], data: [1, 2, 3, 4] };
  const tensors = { model: 'adder', inputs: [x] };

  it('takes tensors in any form, and turns them into base64', () => {
    const input = { tensors: [{ ...x, data: 'AQIDBA==' }], outputEncoding: 'json' };
    expect(parseSubmission(tensors, bounds)).toEqual({ model: 'adder', class: 'standard', input });
    const nested = {
      ...x,
      data: [
        [1, 2],
        [3, 4],
      ],
    };
    for (const form of [{ ...x, data: 'AQIDBA==' }, nested]) {
      expect(parseSubmission({ ...tensors, inputs: [form] }, bounds).input).toEqual(input);
    }
    const inBytes = parseSubmission({ ...tensors, outputEncoding: 'base64' }, bounds).input;
    expect(inBytes).toEqual({ ...input, outputEncoding: 'base64' });
  });

  it.each([
    [[0], []],
    [[0, 2], []],
    [[0, 2], ''],
    [
      [2, 0],
      [[], []],
    ],
    [[2, 0], []],
  ])('takes an empty tensor %j written as %j', (shape, data) => {
    const { input } = parseSubmission({ ...tensors, inputs: [{ ...x, shape, data }] }, bounds);
    expect(input).toEqual({ tensors: [{ ...x, shape, data: '' }], outputEncoding: 'json' });
  });

  it.each<[string, object, RegExp]>([
    ['both kinds of input', { ...tensors, input: 'x' }, /^inputs must be absent where there is input/],
    ['an encoding for texts', { ...good, outputEncoding: 'json' }, /^outputEncoding must be absent where/],
    ['an unknown encoding', { ...tensors, outputEncoding: 'xml' }, /^outputEncoding must be one of json, base64/],
    ['no tensors', { ...tensors, inputs: [] }, /^inputs must not be empty/],
    ['too many tensors', { ...tensors, inputs: new Array(65).fill(x) }, /^inputs must have at most 64 items/],
    ['an object of tensors', { ...tensors, inputs: { x } }, /^inputs must be a list/],
    ['a tensor that is none', { ...tensors, inputs: [x, 7] }, /^inputs\.1 must be an object/],
    ['no name', { ...tensors, inputs: [{ ...x, name: undefined }] }, /^inputs\.0\.name is required/],
    [
      'texts',
      { ...tensors, inputs: [{ ...x, datatype: 'BYTES' }] },
      /^inputs\.0\.datatype must be one of BOOL, .*FP64/,
    ],
    [
      'data of an empty tensor',
      { ...tensors, inputs: [{ ...x, shape: [0, 2] }] },
      /^inputs\.0\.data holds 4 elements, .* 0$/,
    ],
    [
      'an empty tensor with an axis beyond what tensors may have',
      { ...tensors, inputs: [{ ...x, shape: [0, 769], data: [] }] },
      /^inputs have 1028 bytes in base64, an axis of 0 counted as 1, at most 1024/,
    ],
    ['a negative axis', { ...tensors, inputs: [{ ...x, shape: [2, -1] }] }, /^inputs\.0\.shape\.1 must be at least 0/],
    [
      'an axis of 2^31',
      { ...tensors, inputs: [{ ...x, shape: [2 ** 31] }] },
      /^inputs\.0\.shape\.0 must be at most 2147/,
    ],
    ['a broken axis', { ...tensors, inputs: [{ ...x, shape: [1.5] }] }, /^inputs\.0\.shape\.0 must be a whole number/],
    [
      'many axes',
      { ...tensors, inputs: [{ ...x, shape: new Array(9).fill(1) }] },
      /^inputs\.0\.shape must have at most 8/,
    ],
    ['no data', { ...tensors, inputs: [{ ...x, data: undefined }] }, /^inputs\.0\.data /],
    [
      'a wrong number',
      {
        ...tensors,
        inputs: [
          x,
          {
            ...x,
            data: [
              [1, 2],
              [3, 300],
            ],
          },
        ],
      },
      /^inputs\.1\.data\.1\.1 is 300; UINT8/,
    ],
    [
      'a ragged list',
      { ...tensors, inputs: [{ ...x, data: [[1, 2], [3]] }] },
      /^inputs\.0\.data\.1 holds 1 element, the/,
    ],
    [
      'a long tensor',
      { ...tensors, inputs: [{ ...x, shape: [769] }] },
      /^inputs have 1028 bytes in base64, at most 1024/,
    ],
    ['parameters', { ...tensors, inputs: [{ ...x, parameters: {} }] }, /^inputs\.0\.parameters is not a known field/],
  ])('refuses %s', (_name, body, expected) => {
    expect(fieldsOf(body)[0]).toMatch(expected);
  });

  it('refuses __proto__ at every level instead of ignoring it', () => {
    expect(fieldsOf(JSON.parse('{"model":"m","input":"x","__proto__":{"class":"batch"}}'))[0]).toMatch(/__proto__/);
    expect(fieldsOf(JSON.parse('{"model":"m","input":"x","metadata":{"__proto__":1}}'))).not.toEqual([]);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it('names several wrong fields at once', () => {
    expect(fieldsOf({ model: 5, input: 'x', class: 1 })).toHaveLength(2);
  });

  it('never throws anything but a ServiceError', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), fc.array(fc.nat(9)), (input, metadata, shape) => {
        expect(() => fieldsOf({ model: 'm', input, metadata })).not.toThrow();
        expect(() => fieldsOf({ model: 'm', inputs: input, metadata })).not.toThrow();
        expect(() => fieldsOf({ model: 'm', inputs: [{ ...x, shape, data: input }] })).not.toThrow();
      }),
    );
  });
});

describe('fingerprint', () => {
  it('does not depend on the order of metadata, and tells different requests apart', () => {
    const one = parseSubmission({ ...good, metadata: { a: 1, b: '2' } }, bounds);
    const same = parseSubmission({ ...good, metadata: { b: '2', a: 1 } }, bounds);
    expect(fingerprint(one)).toBe(fingerprint(same));
    const others = [
      good,
      { ...good, input: ['hello'] },
      { ...good, class: 'batch' },
      { ...good, maxOutputTokens: 0 },
      { ...good, metadata: { a: 1, b: 2 } },
    ].map((body) => fingerprint(parseSubmission(body, bounds)));
    expect(new Set([fingerprint(one), ...others]).size).toBe(others.length + 1);
  });
});

describe('parseIdempotencyKey', () => {
  it('reads a key bare or as a quoted string', () => {
    expect(parseIdempotencyKey('abc-1')).toBe('abc-1');
    expect(parseIdempotencyKey('"abc-1"')).toBe('abc-1');
    expect(parseIdempotencyKey(undefined)).toBeUndefined();
  });

  it.each(['', '""', ' ', 'a b', 'é', 'x'.repeat(256)])('refuses %p', (key) => {
    expect(() => parseIdempotencyKey(key)).toThrow(/Idempotency-Key/);
  });
});
