import type { AdjustableConsumer } from '@sluice/broker';
import type { JobClass } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';

/** How often it looks: a change costs round trips, and jobs on their way are given back. */
const INTERVAL_MS = 3_000;
/** Part of the prefetch that must be in hand for it to be what bounds. */
const FULL = 0.9;
/** A smaller change is not worth it. */
const FACTOR = 2;

/** A consumer whose prefetch is controlled. */
export interface ControlledConsumer {
  readonly class: JobClass;
  /** Its highest prefetch, which it begins with. */
  readonly most: number;
  readonly consumer: Pick<AdjustableConsumer, 'inFlight' | 'settled' | 'setPrefetch'>;
}

export interface PrefetchControlOptions {
  readonly consumers: readonly ControlledConsumer[];
  /** Lowest prefetch, where the highest allows it. Asked at each look. */
  readonly least: () => number;
  /**
   * For how long jobs of a class in hand should last at the rate at which they are done, in milliseconds; undefined when none came
   * since it was last asked. Asked at each look.
   */
  readonly holdMs: (jobClass: JobClass) => number | undefined;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
  readonly logger: Logger;
}

export interface PrefetchControl {
  start(): void;
  /** Looks now. Resolves when the broker knows what came of it. */
  look(): Promise<void>;
  stop(): void;
  /** Prefetches now, by class. */
  readonly prefetches: ReadonlyMap<JobClass, number>;
}

/**
 * Lets a worker hold as many jobs of a class as it gets done in a while, and no more: where models are slow, jobs that would wait
 * here for seconds stay in the queue for workers that are free. It changes only what was used to the full, so a worker that had
 * nothing to do is ready for many.
 */
export function createPrefetchControl(options: PrefetchControlOptions): PrefetchControl {
  const { least, holdMs, now, logger } = options;
  const watched = options.consumers.map((controlled) => ({ controlled, prefetch: controlled.most, settled: 0 }));
  let lookedAtMs = now();
  let timer: NodeJS.Timeout | undefined;

  async function adjust(entry: (typeof watched)[number], elapsedMs: number): Promise<void> {
    const { controlled, prefetch } = entry;
    const { consumer, most } = controlled;
    const done = consumer.settled - entry.settled;
    entry.settled += done;
    const holdForMs = holdMs(controlled.class);
    // n.b. none done says nothing about how many could be: the broker may be away.
    if (done === 0 || holdForMs === undefined || consumer.inFlight < prefetch * FULL) return;
    const wanted = Math.min(most, Math.max(least(), Math.ceil((done / elapsedMs) * holdForMs)));
    if (wanted < prefetch * FACTOR && wanted > prefetch / FACTOR) return;
    entry.prefetch = wanted;
    logger.info({ class: controlled.class, from: prefetch, to: wanted }, 'the prefetch follows what is done');
    await consumer.setPrefetch(wanted);
  }

  async function look(): Promise<void> {
    const elapsedMs = now() - lookedAtMs;
    if (elapsedMs <= 0) return;
    lookedAtMs += elapsedMs;
    await Promise.all(watched.map((entry) => adjust(entry, elapsedMs)));
  }

  return {
    look,
    get prefetches() {
      return new Map(watched.map(({ controlled, prefetch }) => [controlled.class, prefetch]));
    },
    start() {
      lookedAtMs = now();
      timer = setInterval(() => void look(), INTERVAL_MS);
    },
    stop: () => clearInterval(timer),
  };
}
