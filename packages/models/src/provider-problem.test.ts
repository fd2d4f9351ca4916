import { expect, it } from '@jest/globals';
import { providerProblem } from './provider-problem.js';

it.each([
  'CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; expr=cudaMalloc((void**)&p, size);',
  'Failed to allocate memory for requested buffer of size 1073741824',
  'Available memory of 1048576 is smaller than requested bytes of 4194304',
  'CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0',
])('says that the card has no memory left: %s', (reason) => {
  const { code, message } = providerProblem('cuda', 'tiny/1/model.onnx', new Error(reason));
  expect(code).toBe('model_unavailable');
  expect(message).toBe(`execution provider "cuda" has not enough memory left for tiny/1/model.onnx: ${reason}`);
});

it('says that the provider is not available for any other reason', () => {
  const reason = 'libcublasLt.so.12: cannot open shared object file: No such file or directory';
  expect(providerProblem('cuda', 'tiny/1/model.onnx', new Error(reason)).message).toBe(
    `execution provider "cuda" was asked for and is not available on this machine: ${reason}`,
  );
});
