import { isBatchable, ServiceError } from '@sluice/contracts';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { checkDigest } from './digests.js';
import type { Model } from './model.js';
import { padSequences } from './padding.js';
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

/** A loaded model. n.b. `run` and `openSession` block the event loop, so this belongs in an inference process. */
export interface Session {
  /**
   * Runs texts given as token ids, each as if alone: padding is masked, and a model whose quantisation is
   * dynamic is run text by text. A text of no tokens is allowed.
   *
   * @returns float32 `[batch, dimensions]`, row-major, in the order of the sequences.
   * @throws ServiceError `input_too_long` or `inference_failed`.
   */
  run(sequences: readonly Int32Array[]): Promise<Float32Array>;
  /** Frees the native memory; the session cannot be used after. */
  release(): Promise<void>;
}

/**
 * Loads a model into ONNX Runtime and checks that it is what its `model.yaml` says.
 *
 * @throws ServiceError `model_unavailable` when the file is damaged or has other inputs or another output, or when the
 *   execution provider is not available.
 */
export async function openSession(model: Model, { threads, provider = CPU }: SessionOptions): Promise<Session> {
  const path = `${model.name}/${model.version}/${ONNX_FILE}`;
  await checkDigest(model, ONNX_FILE);
  const native = await createNative(model, threads, provider).catch(async (cause: unknown) => {
    if (await isLoadable(model, provider)) throw providerMissing(provider, cause);
    throw new ServiceError('model_unavailable', `${path} cannot be loaded`, { cause });
  });
  try {
    checkSignature(model, native, path);
  } catch (error) {
    await native.release();
    throw error;
  }
  const { maxInputTokens, inputs, output } = model.file;

  async function runTogether(sequences: readonly Int32Array[]): Promise<Float32Array> {
    const { inputIds, attentionMask, shape } = padSequences(sequences);
    const feeds = {
      [inputs.inputIds]: new Tensor('int64', inputIds, shape),
      [inputs.attentionMask]: new Tensor('int64', attentionMask, shape),
    };
    const results = await native.run(feeds, [output.name]).catch((cause: unknown) => {
      throw new ServiceError('inference_failed', 'The model could not process the input', { cause });
    });
    return results[output.name]?.data as Float32Array;
  }

  async function runAlone(sequences: readonly Int32Array[]): Promise<Float32Array> {
    const rows = new Float32Array(sequences.length * output.dimensions);
    for (const [row, sequence] of sequences.entries()) {
      rows.set(await runTogether([sequence]), row * output.dimensions);
    }
    return rows;
  }

  return {
    async run(sequences) {
      if (sequences.length === 0) return new Float32Array(0);
      const longest = sequences.reduce((length, sequence) => Math.max(length, sequence.length), 0);
      if (longest > maxInputTokens) {
        throw new ServiceError('input_too_long', `A text has ${longest} tokens, the model takes ${maxInputTokens}`);
      }
      return isBatchable(model.file) ? runTogether(sequences) : runAlone(sequences);
    },
    release: () => native.release(),
  };
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

function providerMissing({ name }: ExecutionProvider, cause: unknown): ServiceError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const detail = `execution provider "${name}" was asked for and is not available on this machine: ${reason}`;
  return new ServiceError('model_unavailable', detail);
}

/** Two int64 inputs `[batch, length]`, one float32 output `[batch, dimensions]`, all by the names of `model.yaml`. */
function checkSignature(model: Model, native: InferenceSession, path: string): void {
  const { inputs, output } = model.file;
  const found = signature(native.inputMetadata.map(describe), native.outputMetadata.map(describe));
  const expected = signature(
    [`${inputs.inputIds}:int64[*,*]`, `${inputs.attentionMask}:int64[*,*]`],
    [`${output.name}:float32[*,${output.dimensions}]`],
  );
  if (found === expected) return;
  throw new ServiceError('model_unavailable', `${path} has the signature ${found}; its model.yaml says ${expected}`);
}

function signature(inputs: readonly string[], outputs: readonly string[]): string {
  return `(${[...inputs].sort().join(', ')}) -> (${outputs.join(', ')})`;
}

/** For example `input_ids:int64[*,*]`; a star is an axis of any length. */
function describe(value: InferenceSession.ValueMetadata): string {
  if (!value.isTensor) return `${value.name}:not a tensor`;
  const axes = value.shape.map((axis) => (typeof axis === 'number' && axis >= 0 ? axis : '*'));
  return `${value.name}:${value.type}[${axes.join(',')}]`;
}
