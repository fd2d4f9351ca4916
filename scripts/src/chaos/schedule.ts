import { type Cast, type FaultKind, type PlannedFault } from './fault.js';
import { createRandom } from './random.js';

export interface ScheduleOptions {
  readonly seed: number;
  readonly cast: Cast;
  readonly kinds: readonly FaultKind[];
  /** From one fault to the next, on average, in milliseconds. */
  readonly spacingMs: number;
  /** True: the kinds in their order, each once, before the order is left to chance. */
  readonly eachKindFirst?: boolean;
}

/**
 * Faults without end, a function of the options alone: kinds, targets, times, and what each draws. The gap between two
 * is 0.3 to 1.7 times the spacing. What a fault draws does not change those after it.
 */
export function* schedule(options: ScheduleOptions): Generator<PlannedFault, never> {
  const { cast, spacingMs, eachKindFirst = false } = options;
  const random = createRandom(options.seed);
  const kinds = options.kinds.filter((kind) => kind.targets(cast).length > 0);
  let atMs = 0;
  for (let number = 1; ; number++) {
    const own = random.fork();
    const inOrder = eachKindFirst ? kinds[number - 1] : undefined;
    const kind = inOrder ?? own.pick(kinds, ({ weight }) => weight);
    const target = own.pick(kind.targets(cast));
    const durationMs = own.between(...kind.durationMs);
    yield { number, kind, target, atMs, durationMs, random: own.fork() };
    atMs += Math.round(spacingMs * (0.3 + 1.4 * random.next()));
  }
}
