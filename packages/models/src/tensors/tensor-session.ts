import { MAX_AXIS, ServiceError, type TensorSpec } from '@sluice/contracts';
import { Tensor, type InferenceSession } from 'onnxruntime-node';
import type { TensorModel } from '../model.js';
import { openNative, type SessionOptions } from '../native-session.js';
import { runFailure } from '../run-failure.js';
import { DATATYPE_FACTS } from './datatypes.js';
import { tensorSize, type TensorBytes } from './tensor-data.js';
import { unavailable } from '../unavailable.js';
import { isOfShape, shapeText } from './tensor-fit.js';

/** A loaded model of tensors. n.b. `run` blocks the event loop, as every session does. */
export interface TensorSession {
  /**
   * @param inputs in the order of `model.yaml`, of its datatypes and shapes.
   * @returns the outputs in the order of `model.yaml`.
   * @throws ServiceError `inference_crashed` when there was no memory, `inference_failed` when the model refuses the inputs, or when an output has another type or shape than
   *   `model.yaml` says.
   */
  run(inputs: readonly TensorBytes[]): Promise<readonly TensorBytes[]>;
  /**
   * Runs zeros, with every free axis 1. Not every model takes those, which says nothing against it.
   *
   * @throws ServiceError `model_unavailable` when an output is another than `model.yaml` says and is so for jobs too: its length is
   *   not one that follows from the made-up lengths, or follows from one that jobs may choose.
   */
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

  async function runNative(inputs: readonly TensorBytes[]): Promise<Tensors> {
    const feeds = Object.fromEntries(declared.map((spec, at) => [spec.name, toNative(spec, inputs[at])]));
    return native.run(feeds, names).catch((error: unknown) => {
      throw runFailure(error);
    });
  }

  /** What comes of zeros; undefined when the model does not take them. */
  async function runZeros(freeAxis: number): Promise<Tensors | undefined> {
    try {
      return await runNative(declared.map((spec) => zerosOf(spec, freeAxis)));
    } catch {
      return undefined;
    }
  }

  return {
    async run(inputs) {
      const results = await runNative(inputs);
      return outputs.map((spec) => fromNative(spec, results[spec.name]));
    },
    async warmUp() {
      const found = await runZeros(1);
      if (!found) return;
      const wrong = outputs.filter((spec) => !isAsDeclared(spec, found[spec.name]));
      if (wrong.length === 0) return;
      // Only an axis that comes out alike with other lengths may be said to have nothing to do with them.
      const others = hasFreeAxis(declared) ? await runZeros(2) : found;
      const chosen = namesOfFreeAxes(declared, native);
      for (const spec of wrong) {
        const lengths = { found: found[spec.name], other: others?.[spec.name], axes: axesOf(native, spec) };
        if (isWrongForJobs(spec, lengths, chosen)) throw unavailable(otherThanDeclared(spec, found[spec.name]));
      }
    },
    release: () => native.release(),
  };
}

type Tensors = InferenceSession.ReturnType;

/** @param freeAxis length of each axis that may have any. */
function zerosOf({ datatype, shape: declared }: TensorSpec, freeAxis: number): TensorBytes {
  const shape = declared.map((axis) => (axis === -1 ? freeAxis : axis));
  return { shape, bytes: new Uint8Array(tensorSize(datatype, shape)) };
}

function hasFreeAxis(specs: readonly TensorSpec[]): boolean {
  return specs.some(({ shape }) => shape.includes(-1));
}

/** What two runs with free axes of other lengths made of an output. */
interface TwoRuns {
  readonly found: Tensor | undefined;
  readonly other: Tensor | undefined;
  /** Of the output in the file. */
  readonly axes: readonly (number | string)[];
}

/**
 * Whether an output that is not as declared is not so for jobs either.
 *
 * @param chosen names that the file gives to axes whose length a job may choose.
 */
function isWrongForJobs(spec: TensorSpec, { found, other, axes }: TwoRuns, chosen: ReadonlySet<string>): boolean {
  if (found?.type !== DATATYPE_FACTS[spec.datatype].native) return true;
  if (found.dims.length !== spec.shape.length) return other?.dims.length === found.dims.length;
  return spec.shape.some((length, axis) => {
    if (length === -1 || found.dims[axis] === length) return false;
    const name = axes[axis];
    return other?.dims[axis] === found.dims[axis] || (typeof name === 'string' && chosen.has(name));
  });
}

function namesOfFreeAxes(inputs: readonly TensorSpec[], native: InferenceSession): ReadonlySet<string> {
  const names = inputs.flatMap((spec) => {
    const axes = native.inputMetadata.find(({ name }) => name === spec.name);
    return axes?.isTensor ? axes.shape.filter((name, axis) => name !== '' && spec.shape[axis] === -1) : [];
  });
  return new Set(names.filter((name) => typeof name === 'string'));
}

function axesOf({ outputMetadata }: InferenceSession, spec: TensorSpec): readonly (number | string)[] {
  const output = outputMetadata.find(({ name }) => name === spec.name);
  return output?.isTensor ? output.shape : [];
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
  // n.b. an axis may be longer than messages can say where another one is 0.
  if (!isAsDeclared(spec, tensor) || tensor.dims.some((axis) => axis > MAX_AXIS)) {
    throw new ServiceError('inference_failed', otherThanDeclared(spec, tensor));
  }
  const { buffer, byteOffset, byteLength } = tensor.data as Float32Array;
  return { shape: tensor.dims, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

function isAsDeclared(spec: TensorSpec, tensor: Tensor | undefined): tensor is Tensor {
  return tensor?.type === DATATYPE_FACTS[spec.datatype].native && isOfShape(tensor.dims, spec);
}

function otherThanDeclared({ name, datatype, shape }: TensorSpec, tensor: Tensor | undefined): string {
  const found = tensor ? `${tensor.type} ${shapeText(tensor.dims)}` : 'none';
  return `The output ${name} came out as ${found} instead of ${datatype} ${shapeText(shape)}.`;
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
