import {
  DATATYPES,
  MAX_AXES,
  MAX_AXIS,
  ServiceError,
  tensorNameSchema,
  type TensorInput,
  type TensorMessage,
} from '@sluice/contracts';
import { readTensorData, tensorSize } from '@sluice/models';
import { z } from 'zod';
import { invalidRequest, validate } from './field-errors.js';

const MAX_TENSORS = 64;

// n.b. the lengths of lists are looked at before what is in them, so that a body full of nonsense is not told item by item.
const axes = z
  .array(z.unknown())
  .max(MAX_AXES)
  .pipe(z.array(z.int().min(0).max(MAX_AXIS)));
const tensors = z
  .array(z.unknown())
  .min(1)
  .max(MAX_TENSORS)
  .pipe(
    z.array(z.strictObject({ name: tensorNameSchema, datatype: z.enum(DATATYPES), shape: axes, data: z.unknown() })),
  );
const inputsSchema = z.object({ inputs: tensors });
type SubmittedTensor = z.output<typeof tensors>[number];

/**
 * Reads the `inputs` of a submission: tensors in the words of the Open Inference Protocol v2, their data as JSON or base64. Whether
 * the model takes them is for `countSubmission` to say.
 *
 * @param maxBytes most bytes of all of them in base64, as the job carries them to its worker; an axis of 0 counts as 1.
 * @throws ServiceError `invalid_request`, naming the field and within long data the position; `payload_too_large`.
 */
export function parseTensors(
  given: unknown,
  outputEncoding: TensorInput['outputEncoding'],
  maxBytes: number,
): TensorInput {
  const { inputs } = validate(inputsSchema, { inputs: given });
  // n.b. before any memory is taken: the shape of a short tensor may say that it is a long one.
  const bytes = inputs.reduce(
    (sum, { datatype, shape }) => sum + base64Length(tensorSize(datatype, atLeastOne(shape))),
    0,
  );
  if (bytes > maxBytes)
    throw tooLarge(
      bytes,
      maxBytes,
      inputs.some(({ shape }) => shape.includes(0)),
    );
  return { tensors: inputs.map(readTensor), outputEncoding };
}

function readTensor({ name, datatype, shape, data }: SubmittedTensor, index: number): TensorMessage {
  const found = readTensorData(datatype, shape, data);
  if ('bytes' in found) return { name, datatype, shape, data: found.bytes.toString('base64') };
  throw invalidRequest([{ field: ['inputs', index, 'data', ...found.at].join('.'), reason: found.reason }]);
}

/**
 * n.b. an axis of 0 makes a tensor empty however long the others are, but a model can make outputs as long as those: so it counts as 1
 * in what is compared with the limit.
 */
function atLeastOne(shape: readonly number[]): readonly number[] {
  return shape.map((axis) => Math.max(1, axis));
}

function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3);
}

function tooLarge(bytes: number, maxBytes: number, hasEmpty: boolean): ServiceError {
  const reason = `have ${bytes} bytes in base64${hasEmpty ? ', an axis of 0 counted as 1' : ''}, at most ${maxBytes} are allowed`;
  return new ServiceError('payload_too_large', `The inputs ${reason}.`, {
    fields: [{ field: 'inputs', reason }],
    extensions: { maxBytes },
  });
}
