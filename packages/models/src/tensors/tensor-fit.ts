import {
  elementsOf,
  type FieldError,
  type TensorModelFile,
  type TensorMessage,
  type TensorSpec,
} from '@sluice/contracts';

/** What is told of a tensor beside its data. */
export type TensorFacts = Pick<TensorMessage, 'name' | 'datatype' | 'shape'>;

/**
 * Why a model cannot take these tensors as its inputs; nothing when it can. n.b. axes that the model has under one name in its
 * file, and which must be as long as each other, are not compared: the model refuses such a run.
 */
export function misfits(
  { inputs }: Pick<TensorModelFile, 'inputs'>,
  tensors: readonly TensorFacts[],
): readonly FieldError[] {
  const seen = new Set<string>();
  const wrong = tensors.flatMap((tensor, index): FieldError[] => {
    const at = (field: string, reason: string): FieldError[] => [{ field: `inputs.${index}.${field}`, reason }];
    const spec = inputs.find(({ name }) => name === tensor.name);
    if (!spec) return at('name', `names no input of the model; it has ${inputs.map(({ name }) => name).join(', ')}`);
    if (seen.has(spec.name)) return at('name', `names the input ${spec.name} a second time`);
    seen.add(spec.name);
    if (tensor.datatype !== spec.datatype) return at('datatype', `must be ${spec.datatype} for the input ${spec.name}`);
    if (isOfShape(tensor.shape, spec)) return [];
    return at('shape', `is ${shapeText(tensor.shape)}; the input ${spec.name} takes ${shapeText(spec.shape)}`);
  });
  const missing = inputs.filter(({ name }) => !tensors.some((tensor) => tensor.name === name));
  return [...wrong, ...missing.map(({ name }) => ({ field: 'inputs', reason: `must hold the input ${name}` }))];
}

/** Whether each axis has the length that is declared, where one is. */
export function isOfShape(shape: readonly number[], declared: Pick<TensorSpec, 'shape'>): boolean {
  return (
    shape.length === declared.shape.length &&
    declared.shape.every((length, axis) => length === -1 || length === shape[axis])
  );
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/**
 * How many tokens tensors are billed as: their elements together divided by `elementsPerToken`, rounded up, at least 1. The gateway
 * and the workers count by this, so what is held and what is billed are the same.
 */
export function tensorTokens(
  { elementsPerToken }: Pick<TensorModelFile, 'elementsPerToken'>,
  tensors: readonly { readonly shape: readonly number[] }[],
): number {
  const elements = tensors.reduce((sum, { shape }) => sum + elementsOf(shape), 0);
  return Math.max(1, Math.ceil(elements / elementsPerToken));
}

/** The fewest tokens that the outputs of a job can have: free axes may come out as 0. */
export function leastOutputTokens(file: Pick<TensorModelFile, 'outputs' | 'elementsPerToken'>): number {
  return leastTokens(file.elementsPerToken, file.outputs);
}

/** The fewest tokens that tensors of these declared shapes can have together. */
export function leastTokens(elementsPerToken: number, specs: readonly TensorSpec[]): number {
  const least = specs.map(({ shape }) => ({ shape: shape.map((axis) => Math.max(0, axis)) }));
  return tensorTokens({ elementsPerToken }, least);
}
