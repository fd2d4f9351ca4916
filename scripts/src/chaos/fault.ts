import type { Random } from './random.js';
import type { World } from './world.js';

/** Makes the thing right again; resolves when it is. Called once. */
export type Heal = () => Promise<void>;

/** Who takes part, by name; known before anything runs. */
export interface Cast {
  readonly gateways: readonly string[];
  readonly workers: readonly string[];
  readonly collectors: readonly string[];
}

/** One kind of fault. */
export interface FaultKind {
  /** `kill gateway`; also what `--kinds` takes. */
  readonly name: string;
  /** How often it is chosen, beside the weights of the others. */
  readonly weight: number;
  /** What it may hit: `api-gateway-1`, `redis`, or `api-gateway-1>redis` for the way between the two. */
  targets(cast: Cast): readonly string[];
  /** How long it lasts until it is healed, in milliseconds. */
  readonly durationMs: readonly [lowest: number, highest: number];
  /** What no other fault may touch meanwhile; the target when absent. */
  readonly touches?: (target: string) => readonly string[];
  /**
   * Does it. Whatever it draws comes from `fault.random`.
   *
   * @throws CannotInject when it is not possible now or here; then nothing was changed.
   */
  inject(world: World, fault: PlannedFault): Promise<Heal>;
}

/** One fault of the schedule. */
export interface PlannedFault {
  /** From 1. */
  readonly number: number;
  readonly kind: FaultKind;
  readonly target: string;
  /** When it begins, counted from the first moment of the faults, in milliseconds. */
  readonly atMs: number;
  readonly durationMs: number;
  /** For what else is left to chance. */
  readonly random: Random;
}

/** A fault that was not possible; it is counted as skipped, with this reason. */
export class CannotInject extends Error {
  override readonly name = 'CannotInject';
}

/** For faults that are over as soon as they happened. */
export const NOTHING_TO_HEAL: Heal = () => Promise.resolve();

export function touchesOf({ kind, target }: Pick<PlannedFault, 'kind' | 'target'>): readonly string[] {
  return kind.touches?.(target) ?? [target];
}
