import type { Model } from '@sluice/models';
import type { SessionOptions } from '@sluice/models/session';

/**
 * What a worker and its inference processes say to each other.
 *
 * ```
 * worker                      inference process
 *   load ──────────────────────▶ opens and warms a session for each model
 *   ◀──── loading, before each of them
 *   ◀──────────────── warm | unloadable
 *   run(id) ───────────────────▶ one at a time
 *   ◀─────────── result(id) | failed(id)
 *   (pipe closes) ─────────────▶ ends
 * ```
 *
 * They travel as frames (`frames.ts`) over a pipe that is file descriptor `FRAME_PIPE` of the process.
 */
export const FRAME_PIPE = 3;

/**
 * Kinds of frames. The bodies of `load`, `warm` and `unloadable` are JSON, that of `failed` is text, and that of `loading` is
 * empty: its id is the position of the model in the order.
 */
export const FRAME = { load: 1, run: 2, warm: 3, unloadable: 4, result: 5, failed: 6, loading: 7 } as const;

/** Body of `load`. Runs name a model by its position in the list. */
export interface LoadOrder extends Required<SessionOptions> {
  readonly models: readonly KeyedModel[];
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
export interface KeyedModel {
  readonly key: string;
  readonly model: Model;
}

/** Body of `run`. */
export interface RunOrder {
  /** Position of the model in the list of `load`. */
  readonly model: number;
  /** Token ids of each text, not empty. */
  readonly sequences: readonly Int32Array[];
}

/** What a run came to. */
export interface RunResult {
  /** float32 `[sequences, dimensions]`, row-major, all finite. */
  readonly rows: Float32Array;
  /** How long the session took, in milliseconds, without the way there and back. */
  readonly computeMs: number;
  /** Processor time that the process used meanwhile, all its threads together, in milliseconds. */
  readonly cpuMs: number;
}

/** Body of `result`. */
export interface ResultReport extends RunResult {
  /** Resident memory of the process in bytes, at most a moment old. */
  readonly memoryBytes: number;
}
