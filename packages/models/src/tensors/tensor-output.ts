import { ServiceError, type JobOutput, type OutputEncoding } from '@sluice/contracts';
import type { TensorModel } from '../model.js';
import type { TensorBytes } from './tensor-data.js';

/**
 * Turns what a session returned for tensors into the output of a job.
 *
 * @param tensors in the order of `model.yaml`.
 * @param encoding how the client wants to be told of them; the output carries base64 in any case.
 * @throws ServiceError `inference_failed` when one is missing.
 */
export function encodeTensorOutput(
  { file }: TensorModel,
  tensors: readonly TensorBytes[],
  encoding: OutputEncoding,
): JobOutput {
  const outputs = file.outputs.map(({ name, datatype }, at) => {
    const tensor = tensors[at];
    if (!tensor) throw new ServiceError('inference_failed', `The model gave no output ${name}.`);
    const { buffer, byteOffset, byteLength } = tensor.bytes;
    const data = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
    return { name, datatype, shape: [...tensor.shape], data };
  });
  return { task: 'tensors', encoding, outputs };
}
