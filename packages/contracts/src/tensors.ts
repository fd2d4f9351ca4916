import { z } from 'zod';

/**
 * Element types of tensors, by their names in the Open Inference Protocol v2. Its `BYTES` (texts) is not among them: the
 * elements have no fixed size.
 */
export const DATATYPES = [
  ...(['BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64'] as const),
  ...(['FP16', 'FP32', 'FP64'] as const),
] as const;
export type Datatype = (typeof DATATYPES)[number];

/** Most axes of a tensor. */
export const MAX_AXES = 8;
/** Longest axis. */
export const MAX_AXIS = 2 ** 31 - 1;

export const tensorNameSchema = z.string().min(1).max(200);

/** How a client wants the tensors of its result: as JSON arrays, or as base64 of their bytes. */
export const OUTPUT_ENCODINGS = ['json', 'base64'] as const;
export type OutputEncoding = (typeof OUTPUT_ENCODINGS)[number];

/** A tensor as messages carry it and the records keep it. */
export const tensorSchema = z.strictObject({
  name: tensorNameSchema,
  datatype: z.enum(DATATYPES),
  /** Lengths of the axes, outermost first; none: a scalar. */
  shape: z.array(z.int().min(0).max(MAX_AXIS)).max(MAX_AXES),
  /**
   * Base64 of the elements, row-major and little-endian. n.b. that it is base64, and as long as the shape says, is for whoever
   * decodes it to check: the expression for it takes a stack as deep as the text is long.
   */
  data: z.string(),
});
export type TensorMessage = z.infer<typeof tensorSchema>;

/** The input of a job for a model of tensors. */
export const tensorInputSchema = z.strictObject({
  tensors: z.array(tensorSchema).min(1).max(64),
  outputEncoding: z.enum(OUTPUT_ENCODINGS),
});
export type TensorInput = z.infer<typeof tensorInputSchema>;

/** How many elements a tensor of this shape has. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, axis) => product * axis, 1);
}
