import type { Model } from '@sluice/models';

/**
 * What a worker and its inference processes say to each other, over the channel of a forked child with `advanced`
 * serialization (typed arrays travel as bytes).
 *
 * ```
 * worker                      inference process
 *   load ──────────────────────▶ opens and warms a session for each model
 *   ◀──────────────── warm | unloadable
 *   run(id) ───────────────────▶ one at a time
 *   ◀─────────── result(id) | failed(id)
 *   (channel closes) ──────────▶ ends
 * ```
 */
export type ToInferenceProcess =
  | { readonly type: 'load'; readonly models: readonly KeyedModel[] }
  | {
      readonly type: 'run';
      readonly id: number;
      /** Key of a loaded model. */
      readonly model: string;
      /** Token ids of each text, not empty. */
      readonly sequences: readonly Int32Array[];
    };

export type FromInferenceProcess =
  | { readonly type: 'warm' }
  /** A model of `load` cannot be used; the process ends. */
  | { readonly type: 'unloadable'; readonly model: string; readonly reason: string }
  | ({ readonly type: 'result'; readonly id: number } & RunResult)
  /** The run was refused by the model; the process works on. */
  | { readonly type: 'failed'; readonly id: number; readonly reason: string };

/** What a run came to. */
export interface RunResult {
  /** float32 `[sequences, dimensions]`, row-major, all finite. */
  readonly rows: Float32Array;
  /** How long the session took, in milliseconds, without the way there and back. */
  readonly computeMs: number;
}

/** A model and the name under which runs ask for it. */
export interface KeyedModel {
  readonly key: string;
  readonly model: Model;
}
