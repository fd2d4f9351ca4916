import {
  inputTexts,
  isTensorInput,
  ServiceError,
  type AcceptedMessage,
  type ErrorCode,
  type JobOutput,
  type TensorInput,
  type TensorModelFile,
  type TextInput,
  type Usage,
} from '@sluice/contracts';
import {
  decodeOutput,
  decodeTensorData,
  encodeTensorOutput,
  misfits,
  tensorTokens,
  type TensorBytes,
} from '@sluice/models';
import type { Logger } from '@sluice/runtime';
import {
  isServedText,
  type ServedModel,
  type ServedTensorModel,
  type ServedTextModel,
} from '../models/served-models.js';
import type { AnyWork, Work, WorkOutcome } from '../scheduling/running-job.js';

/** What a job that ran to its end came to. */
export interface JobResult {
  readonly usage: Usage;
  readonly output: JobOutput;
}

/** A job as the scheduler can run it. */
export interface JobWork {
  /** The work, with what is the same for every job. */
  readonly work: (common: Required<AnyWork>) => Work;
  /** @throws ServiceError `inference_failed` when what came out is not what the model promises. */
  readonly result: (ran: Exclude<WorkOutcome, { state: 'canceled' }>) => JobResult;
}

/**
 * Why a job cannot run. `model_unavailable`: it was accepted for a version that takes more than the one served here, so another attempt may
 * meet that. Anything else would come again: admission refuses such, but a job that was published around it may still be one.
 */
export interface Unfit {
  readonly code: ErrorCode;
  /** Shown to the tenant. */
  readonly detail: string;
}

/** Reads the input of a job for the model that is to run it. */
export function jobWorkOf(message: AcceptedMessage, served: ServedModel, logger: Logger): JobWork | Unfit {
  const { input } = message;
  const read = (): Read => {
    if (isServedText(served))
      return isTensorInput(input) ? unfit('takes texts, not tensors') : textWork(message, input, served);
    return isTensorInput(input) ? tensorWork(message, input, served) : unfit('takes tensors, not texts');
  };
  const found = read();
  if ('code' in found) return found;
  const { inputTokens } = found;
  if (inputTokens !== message.inputTokens) {
    const counts = { inputTokens, acceptedInputTokens: message.inputTokens };
    logger.error({ jobId: message.jobId, ...counts }, 'the job was accepted with another token count than it has');
  }
  return found;
}

type Read = (JobWork & { readonly inputTokens: number }) | Unfit;

function unfit(why: string): Unfit {
  return { code: 'inference_failed', detail: `The model ${why}.` };
}

function textWork(message: AcceptedMessage, input: TextInput, served: ServedTextModel): Read {
  const { maxInputTokens } = served.model.file;
  const sequences = inputTexts(input).map((text) => served.tokenizer.encode(text));
  const inputTokens = sequences.reduce((sum, sequence) => sum + sequence.length, 0);
  const long = sequences.findIndex(({ length }) => length > maxInputTokens);
  if (long >= 0) {
    const reason = tooLong(`Text ${long} has`, sequences[long]?.length ?? 0, maxInputTokens);
    return tooMuch(message, inputTokens, reason);
  }
  return {
    inputTokens,
    work: ({ class: jobClass, alone, remainingMs, onStart, spans }) => ({
      served,
      sequences,
      class: jobClass,
      alone,
      remainingMs,
      onStart,
      spans,
    }),
    result(ran) {
      const rows = 'rows' in ran ? ran.rows : new Float32Array(0);
      const output = decodeOutput(served.model, rows, sequences.length);
      return { usage: { inputTokens, outputTokens: 0, cachedTokens: 0 }, output };
    },
  };
}

function tensorWork(message: AcceptedMessage, input: TensorInput, served: ServedTensorModel): Read {
  const { file } = served.model;
  const inputTokens = tensorTokens(file, input.tensors);
  const misfit = misfitOf(message, inputTokens, file, input);
  if (misfit) return misfit;
  const tensors = bytesInOrder(file, input);
  if ('code' in tensors) return tensors;
  if (inputTokens > file.maxInputTokens) {
    return tooMuch(message, inputTokens, tooLong('The inputs have', inputTokens, file.maxInputTokens));
  }
  return {
    inputTokens,
    work: ({ class: jobClass, alone, remainingMs, onStart, spans }) => ({
      served,
      tensors,
      tokens: inputTokens,
      class: jobClass,
      alone,
      remainingMs,
      onStart,
      spans,
    }),
    result(ran) {
      const outputs = 'tensors' in ran ? ran.tensors : [];
      const outputTokens = outputTokensOf(file, outputs, message.maxOutputTokens);
      const output = encodeTensorOutput(served.model, outputs, input.outputEncoding);
      return { usage: { inputTokens, outputTokens, cachedTokens: 0 }, output };
    },
  };
}

function tooLong(what: string, tokens: number, maxInputTokens: number): Unfit {
  return { code: 'input_too_long', detail: `${what} ${tokens} tokens, the model takes ${maxInputTokens}.` };
}

/** n.b. versions of a model differ in the lengths of axes at most; with those free, what still misfits is wrong for all of them. */
function misfitOf(
  message: AcceptedMessage,
  inputTokens: number,
  { inputs }: TensorModelFile,
  { tensors }: TensorInput,
): Unfit | undefined {
  const [misfit] = misfits({ inputs }, tensors);
  if (!misfit) return undefined;
  const reason: Unfit = { code: 'inference_failed', detail: `${misfit.field} ${misfit.reason}.` };
  const free = inputs.map((spec) => ({ ...spec, shape: spec.shape.map(() => -1) }));
  return misfits({ inputs: free }, tensors).length > 0 ? reason : tooMuch(message, inputTokens, reason);
}

/** Beyond the served version alone, where admission counted the input as it is. */
function tooMuch(message: AcceptedMessage, inputTokens: number, { code, detail }: Unfit): Unfit {
  return { code: inputTokens === message.inputTokens ? 'model_unavailable' : code, detail };
}

/** In the order of `model.yaml`. */
function bytesInOrder({ inputs }: TensorModelFile, { tensors }: TensorInput): readonly TensorBytes[] | Unfit {
  const ordered: TensorBytes[] = [];
  for (const { name } of inputs) {
    const tensor = tensors.find((candidate) => candidate.name === name);
    if (!tensor) return { code: 'inference_failed', detail: `The input ${name} is missing.` };
    const { datatype, shape, data } = tensor;
    const decoded = decodeTensorData(datatype, shape, data);
    if ('reason' in decoded) return { code: 'inference_failed', detail: `The data of ${name} ${decoded.reason}.` };
    ordered.push({ shape, bytes: decoded.bytes });
  }
  return ordered;
}

/**
 * Nothing where the model does not count its outputs. More than was held is never given; less than that binds no version, since the job
 * may have been accepted for another.
 */
function outputTokensOf(file: TensorModelFile, outputs: readonly TensorBytes[], most: number): number {
  if (file.maxOutputTokens === 0) return 0;
  const tokens = tensorTokens(file, outputs);
  if (tokens <= most) return tokens;
  throw new ServiceError('inference_failed', `The outputs have ${tokens} tokens, the job may produce ${most}.`);
}
