import { ServiceError } from '@sluice/contracts';
import { InferenceSession } from 'onnxruntime-node';
import { checkDigest } from './digests.js';
import type { Model } from './model.js';
import { providerProblem } from './provider-problem.js';
import { ONNX_FILE } from './repository.js';

const CPU = { name: 'cpu' } as const;

/** What computes. Operators that CUDA lacks are computed by the processor, as ONNX Runtime always does. */
export type ExecutionProvider =
  | { readonly name: 'cpu' }
  | {
      readonly name: 'cuda';
      /** Number of the graphics card, from 0. */
      readonly deviceId: number;
    };

export interface SessionOptions {
  /** Threads within an operator. One thread and as many processes as cores is the fastest whole. */
  readonly threads: number;
  /** The processor when absent. Another one that is not there is an error, never a reason to use the processor. */
  readonly provider?: ExecutionProvider;
}

/**
 * Loads a model into ONNX Runtime. `check` looks at it before anybody runs it; when it throws, the session is released.
 *
 * @throws ServiceError `model_unavailable` when the file is damaged, or the execution provider is not available or has not
 *   enough memory; what `check` throws.
 */
export async function openNative(
  model: Model,
  { threads, provider = CPU }: SessionOptions,
  check: (native: InferenceSession, path: string) => void,
): Promise<InferenceSession> {
  const path = `${model.name}/${model.version}/${ONNX_FILE}`;
  await checkDigest(model, ONNX_FILE);
  const native = await createNative(model, threads, provider).catch(async (cause: unknown) => {
    if (await isLoadable(model, provider)) throw providerProblem(provider.name, path, cause);
    throw new ServiceError('model_unavailable', `${path} cannot be loaded`, { cause });
  });
  try {
    check(native, path);
    return native;
  } catch (error) {
    await native.release();
    throw error;
  }
}

function createNative(model: Model, threads: number, provider: ExecutionProvider): Promise<InferenceSession> {
  return InferenceSession.create(model.modelPath, {
    executionProviders: [provider],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Errors are thrown, with their message; the native library need not write them to stderr as well.
    logSeverityLevel: 4,
    // Idle threads would otherwise burn a core each while they wait for work.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
}

/** Whether the processor can do what another execution provider could not: then the model is not to blame. */
async function isLoadable(model: Model, { name }: ExecutionProvider): Promise<boolean> {
  if (name === 'cpu') return false;
  try {
    await (await createNative(model, 1, CPU)).release();
    return true;
  } catch {
    return false;
  }
}

/** For example `input_ids:int64[*,*]`; a star is an axis of any length. */
export function describeValue(value: InferenceSession.ValueMetadata): string {
  if (!value.isTensor) return `${value.name}:not a tensor`;
  const axes = value.shape.map((axis) => (typeof axis === 'number' && axis >= 0 ? axis : '*'));
  return `${value.name}:${value.type}[${axes.join(',')}]`;
}
