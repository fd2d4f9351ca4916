import type { Model, TensorBytes } from '@sluice/models';
import type { SessionOptions } from '@sluice/models/session';

/**
 * What a worker and its inference processes say to each other.
 *
 * ```
 * worker                      inference process
 *   load ──────────────────────▶ opens and warms a session for each model
 *   ◀──── loading, before each of them
 *   ◀──────────────── warm | unloadable
 *   run(id) | runTensors(id) ──▶ one at a time
 *   ◀── result(id) | failed(id) | refused(id) | exhausted(id)
 *   (pipe closes) ─────────────▶ ends
 * ```
 *
 * They travel as frames (`frames.ts`) over a pipe that is file descriptor `FRAME_PIPE` of the process.
 */
export const FRAME_PIPE = 3;

/**
 * Kinds of frames. The bodies of `load`, `warm` and `unloadable` are JSON; those of `failed` and `exhausted` are text for operators, that of
 * `refused` text for whoever sent the job; and that of `loading` is empty: its id is the position of the model in the order.
 */
export const FRAME = {
  ...{ load: 1, run: 2, warm: 3, unloadable: 4, result: 5, failed: 6, loading: 7 },
  ...{ runTensors: 8, refused: 9, exhausted: 10 },
} as const;

/** Body of `load`. Runs name a model by its position in the list. */
export interface LoadOrder extends Required<SessionOptions> {
  readonly models: readonly KeyedModel[];
  /** Most bytes of the tensors that a run gives; any when absent. */
  readonly maxOutputBytes?: number | undefined;
}

/** Body of `warm`: resident memory in bytes. */
export interface WarmReport {
  readonly memoryBytes: number;
  /** What loading and warming each model of the order added, without what is garbage by then and without pages of programs. */
  readonly modelBytes: readonly number[];
}

/** Body of `unloadable`: a model of the order cannot be used; the process ends. */
export interface UnloadableReport {
  readonly model: string;
  readonly reason: string;
}

/** A model and the name under which runs ask for it. */
export interface KeyedModel<Kind extends Model = Model> {
  readonly key: string;
  readonly model: Kind;
}

/** Body of `run`. */
export interface RunOrder {
  /** Position of the model in the list of `load`. */
  readonly model: number;
  /** Token ids of each text, not empty. */
  readonly sequences: readonly Int32Array[];
}

/** Body of `runTensors`. */
export interface TensorRunOrder {
  /** Position of the model in the list of `load`. */
  readonly model: number;
  /** In the order of `model.yaml`. */
  readonly tensors: readonly TensorBytes[];
}

/** What a run of texts came to. */
export interface RunResult {
  /** float32 `[sequences, dimensions]`, row-major, all finite. */
  readonly rows: Float32Array;
  /** How long the session took, in milliseconds, without the way there and back. */
  readonly computeMs: number;
  /** Processor time that the process used meanwhile, all its threads together, in milliseconds. */
  readonly cpuMs: number;
}

/** What a run of tensors came to. */
export interface TensorRunResult {
  /** In the order of `model.yaml`. */
  readonly tensors: readonly TensorBytes[];
  /** See `RunResult`. */
  readonly computeMs: number;
  /** See `RunResult`. */
  readonly cpuMs: number;
}

interface ProcessReport {
  /** Resident memory of the process in bytes, at most a moment old. */
  readonly memoryBytes: number;
}

/** Body of `result`, of a run of texts. */
export type ResultReport = RunResult & ProcessReport;

/** Body of `result`, of a run of tensors. */
export type TensorResultReport = TensorRunResult & ProcessReport;
