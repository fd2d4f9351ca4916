import { MAX_AXIS, ServiceError, type TensorSpec } from '@sluice/contracts';
import { Tensor, type InferenceSession } from 'onnxruntime-node';
import type { TensorModel } from '../model.js';
import { openNative, type SessionOptions } from '../native-session.js';
import { runFailure } from '../run-failure.js';
import { DATATYPE_FACTS } from './datatypes.js';
import { tensorSize, type TensorBytes } from './tensor-data.js';
import { isOfShape, shapeText } from './tensor-fit.js';

/** A loaded model of tensors. n.b. `run` blocks the event loop, as every session does. */
export interface TensorSession {
  /**
   * @param inputs in the order of `model.yaml`, of its datatypes and shapes.
   * @returns the outputs in the order of `model.yaml`.
   * @throws ServiceError `inference_failed` when the model refuses the inputs, or when an output has another type or shape than
   *   `model.yaml` says.
   */
  run(inputs: readonly TensorBytes[]): Promise<readonly TensorBytes[]>;
  /** Runs zeros, with every free axis 1. Not every model takes those, which says nothing against it. */
  warmUp(): Promise<void>;
  /** Frees the native memory; the session cannot be used after. */
  release(): Promise<void>;
}

/**
 * Loads a model into ONNX Runtime and checks that it is what its `model.yaml` says.
 *
 * @throws ServiceError `model_unavailable` when the file is damaged, when its inputs or outputs are others, or when the execution
 *   provider is not available.
 */
export async function openTensorSession(model: TensorModel, options: SessionOptions): Promise<TensorSession> {
  const native = await openNative(model, options, (opened, path) => checkSignature(model, opened, path));
  const { inputs: declared, outputs } = model.file;
  const names = outputs.map(({ name }) => name);

  async function run(inputs: readonly TensorBytes[]): Promise<readonly TensorBytes[]> {
    const feeds = Object.fromEntries(declared.map((spec, at) => [spec.name, toNative(spec, inputs[at])]));
    const results = await native.run(feeds, names).catch((error: unknown) => {
      throw runFailure(error);
    });
    return outputs.map((spec) => fromNative(spec, results[spec.name]));
  }

  return {
    run,
    warmUp: async () => void (await run(declared.map(zerosOf)).catch(() => undefined)),
    release: () => native.release(),
  };
}

function zerosOf({ datatype, shape: declared }: TensorSpec): TensorBytes {
  const shape = declared.map((axis) => Math.max(1, axis));
  return { shape, bytes: new Uint8Array(tensorSize(datatype, shape)) };
}

function toNative({ name, datatype }: TensorSpec, tensor: TensorBytes | undefined): Tensor {
  if (!tensor) throw new ServiceError('inference_failed', `The input ${name} is missing.`);
  const { bytes: size, native, view } = DATATYPE_FACTS[datatype];
  const { shape, bytes } = tensor;
  // n.b. typed arrays can only look at bytes from a multiple of their elements' size on.
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new Tensor(native, view(buffer, byteOffset, byteLength / size) as Float32Array, shape);
}

function fromNative(spec: TensorSpec, tensor: Tensor | undefined): TensorBytes {
  const { native } = DATATYPE_FACTS[spec.datatype];
  // n.b. an axis may be longer than messages can say where another one is 0.
  const isTold =
    tensor?.type === native && isOfShape(tensor.dims, spec) && tensor.dims.every((axis) => axis <= MAX_AXIS);
  if (!isTold) {
    const found = tensor ? `${tensor.type} ${shapeText(tensor.dims)}` : 'none';
    const told = `${spec.datatype} ${shapeText(spec.shape)}`;
    throw new ServiceError('inference_failed', `The output ${spec.name} came out as ${found} instead of ${told}.`);
  }
  const { buffer, byteOffset, byteLength } = tensor.data as Float32Array;
  return { shape: tensor.dims, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** All inputs of the file must be declared, and as it has them; of its outputs those that are declared. */
function checkSignature({ file }: TensorModel, native: InferenceSession, path: string): void {
  const undeclared = native.inputMetadata.filter(({ name }) => !file.inputs.some((spec) => spec.name === name));
  const problems = [
    ...file.inputs.flatMap((spec) => mismatch(`input ${spec.name}`, spec, native.inputMetadata)),
    ...undeclared.map(({ name }) => `has an input ${name}, which its model.yaml does not name`),
    ...file.outputs.flatMap((spec) => mismatch(`output ${spec.name}`, spec, native.outputMetadata)),
  ];
  if (problems.length > 0) throw new ServiceError('model_unavailable', `${path} ${problems.join('; it ')}`);
}

type ValueMetadata = InferenceSession.ValueMetadata;

/** n.b. a value of no known shape looks like a scalar: then what `model.yaml` says counts, and runs are compared with it. */
function mismatch(label: string, spec: TensorSpec, found: readonly ValueMetadata[]): readonly string[] {
  const value = found.find(({ name }) => name === spec.name);
  if (!value) return [`has no ${label}; it has ${found.map(({ name }) => name).join(', ')}`];
  if (!value.isTensor) return [`has an ${label} that is not a tensor`];
  const { native } = DATATYPE_FACTS[spec.datatype];
  if (value.type !== native) return [`has an ${label} of ${value.type}; its model.yaml says ${spec.datatype}`];
  const axes = value.shape.map((axis) => (typeof axis === 'number' && axis >= 0 ? axis : -1));
  if (axes.length === 0 || isWithin(spec.shape, axes)) return [];
  return [`has an ${label} of the shape ${shapeText(axes)}; its model.yaml says ${shapeText(spec.shape)}`];
}

/** An axis that is free in the file may be declared shorter, not the other way round. */
function isWithin(declared: readonly number[], axes: readonly number[]): boolean {
  return declared.length === axes.length && axes.every((length, axis) => length === -1 || length === declared[axis]);
}
