import { isBatchable, ServiceError } from '@sluice/contracts';
import { Tensor, type InferenceSession } from 'onnxruntime-node';
import type { TextModel } from './model.js';
import { describeValue, openNative, type SessionOptions } from './native-session.js';
import { padSequences } from './padding.js';
import { runFailure } from './run-failure.js';

export type { ExecutionProvider, SessionOptions } from './native-session.js';
export { isTextModel } from './model.js';
export { openTensorSession, type TensorSession } from './tensors/tensor-session.js';

/** A loaded model of texts. n.b. `run` and `openSession` block the event loop, so this belongs in an inference process. */
export interface Session {
  /**
   * Runs texts given as token ids, each as if alone: padding is masked, and a model whose quantisation is
   * dynamic is run text by text. A text of no tokens is allowed.
   *
   * @returns float32 `[batch, dimensions]`, row-major, in the order of the sequences.
   * @throws ServiceError `input_too_long`, `inference_failed`, or `inference_crashed` when there was no memory.
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
export async function openSession(model: TextModel, options: SessionOptions): Promise<Session> {
  const native = await openNative(model, options, (opened, path) => checkSignature(model, opened, path));
  const { maxInputTokens, inputs, output } = model.file;

  async function runTogether(sequences: readonly Int32Array[]): Promise<Float32Array> {
    const { inputIds, attentionMask, shape } = padSequences(sequences);
    const feeds = {
      [inputs.inputIds]: new Tensor('int64', inputIds, shape),
      [inputs.attentionMask]: new Tensor('int64', attentionMask, shape),
    };
    const results = await native.run(feeds, [output.name]).catch((error: unknown) => {
      throw runFailure(error);
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

/** Two int64 inputs `[batch, length]`, one float32 output `[batch, dimensions]`, all by the names of `model.yaml`. */
function checkSignature(model: TextModel, native: InferenceSession, path: string): void {
  const { inputs, output } = model.file;
  const found = signature(native.inputMetadata.map(describeValue), native.outputMetadata.map(describeValue));
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
