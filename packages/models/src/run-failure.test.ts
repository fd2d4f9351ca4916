import { totalmem } from 'node:os';
import { expect, it } from '@jest/globals';
import { runFailure } from './run-failure.js';

const GATHER = "Non-zero status code returned while running Gather node. Name:'";

it.each([
  [`${GATHER}' Status Message: indices element out of data bounds, idx=233 must be within`, 'a node of Gather failed'],
  [`${GATHER}encoder/words' Status Message: idx=233`, 'a node of Gather named encoder/words failed'],
  ['Invalid rank for input: ids Got: 1 Expected: 2', 'Invalid rank for input: ids Got: 1 Expected: 2'],
  ['Unexpected input data type. Actual: (tensor(float))', 'Unexpected input data type. Actual: (tensor(float))'],
  ['the text 233 is odd', 'ONNX Runtime failed, and did not name a node'],
  [`the text is ${GATHER}233' odd`, 'ONNX Runtime failed, and did not name a node'],
])('says of "%s" where it went wrong, and no values', (words, place) => {
  const failure = runFailure(new Error(words));
  expect(failure).toMatchObject({ code: 'inference_failed', cause: { message: place } });
  expect(JSON.stringify([failure.message, failure.cause, failure.stack, String(failure.cause)])).not.toContain('233');
});

it.each([
  `${GATHER}' Status Message: std::bad_alloc`,
  `${GATHER}' Status Message: bfc_arena.cc:360 void* AllocateRawInternal() Failed to allocate memory for requested buffer of size 233`,
  `${GATHER}' Status Message: Available memory of 12 is smaller than requested bytes of 233`,
  `${GATHER}' Status Message: CUDA failure 2: out of memory ; GPU=0`,
  'Array buffer allocation failed',
])('does not blame the input when it is told "%s"', (words) => {
  const failure = runFailure(new RangeError(words));
  expect(failure).toMatchObject({ code: 'inference_crashed', message: 'There was no memory for the run' });
  expect(String(failure.cause)).not.toContain('233');
});

it('blames an input for which no memory would be enough', () => {
  const size = Math.ceil(totalmem() * 1.01);
  const words = `${GATHER}' Status Message: bfc_arena.cc:360 Failed to allocate memory for requested buffer of size ${size}`;
  expect(runFailure(new RangeError(words))).toMatchObject({ code: 'inference_failed' });
});
