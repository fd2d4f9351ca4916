import type { Logger } from '@sluice/runtime';
import { StarvedRunError } from '../inference/inference-child.js';
import type { InferenceHost } from '../inference/inference-host.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { differenceOf } from './output-difference.js';
import { createShadowQueue, type NextText, type QueueBounds } from './shadow-queue.js';
import type { ShadowTally } from './shadow-tally.js';
import type { ShadowedJob } from './shadows.js';

/** How often it is looked whether the worker has nothing else to do, while jobs wait to be compared. */
const LOOK_EVERY_MS = 20;

export interface ShadowVersionOptions {
  /** One process with one model. */
  readonly createHost: (models: readonly KeyedModel[]) => InferenceHost;
  /** Whether the worker has nothing else to do. */
  readonly isQuiet: () => boolean;
  readonly tally: Pick<ShadowTally, 'compared' | 'failed' | 'dropped'>;
  readonly logger: Logger;
}

/**
 * A version that answered jobs are compared with: its process, and the jobs that wait for that.
 *
 * ```
 * loading ──▶ ready          jobs wait while it is loading and run while it is ready;
 *  ▲  └─────▶ unloadable     they are dropped while it is unloadable
 *  └──retry──────┘
 * ```
 */
export interface ShadowVersion {
  readonly state: 'loading' | 'ready' | 'unloadable';
  /** Why it is `unloadable`. */
  readonly reason: string | undefined;
  /** Its process, or the one that was tried last. */
  readonly host: InferenceHost;
  /** Jobs that wait. */
  readonly waiting: number;
  /** Takes a copy of the job to compare it some time, or drops it. */
  offer(job: ShadowedJob): void;
  /** Bounds what waits, and drops jobs that are not to be compared any more. */
  limit(bounds: QueueBounds, isCompared: (job: ShadowedJob) => boolean): void;
  /** Tries again to load it, if it is `unloadable`. */
  retry(): void;
  /** Drops what waits and ends the process. A run that is under way is dropped, too. */
  stop(): Promise<void>;
}

export function createShadowVersion(keyed: KeyedModel, options: ShadowVersionOptions): ShadowVersion {
  const { createHost, isQuiet, tally, logger } = options;
  const queue = createShadowQueue((job, texts) => tally.dropped(job, texts));
  let state: ShadowVersion['state'] = 'loading';
  let reason: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let ended = false;
  let host = begin();

  function begin(): InferenceHost {
    const begun = createHost([keyed]);
    [state, reason] = ['loading', undefined];
    begun.onIdle(pump);
    begun.start().then(
      () => {
        state = 'ready';
        pump();
      },
      (error: unknown) => cannotLoad(begun, error),
    );
    return begun;
  }

  function cannotLoad(begun: InferenceHost, error: unknown): void {
    if (ended) return;
    logger.error({ err: error, model: keyed.key }, 'a shadow version cannot be loaded, nothing is compared with it');
    [state, reason] = ['unloadable', error instanceof Error ? error.message : String(error)];
    queue.drop(() => true);
    void begun.stop();
  }

  function pump(): void {
    clearTimeout(timer);
    if (ended || running || state !== 'ready' || queue.length === 0) return;
    const text = isQuiet() && host.idle > 0 ? queue.next() : undefined;
    if (!text) {
      timer = setTimeout(pump, LOOK_EVERY_MS);
      return;
    }
    running = compare(text).finally(() => {
      running = undefined;
      pump();
    });
  }

  /** n.b. one text a run: real work that comes meanwhile shares the processor with it, so it should be short. */
  async function compare({ job, index }: NextText): Promise<void> {
    const { file } = job.served.model;
    const { dimensions } = file.output;
    try {
      const { rows } = await host.run(keyed.key, [job.sequences[index] ?? new Int32Array(0)]);
      const answered = job.rows.subarray(index * dimensions, (index + 1) * dimensions);
      tally.compared(job, index, differenceOf(file, answered, rows));
    } catch (error) {
      if (ended) tally.dropped(job, 1);
      else if (error instanceof StarvedRunError) tally.dropped(job, 1, error.message);
      else tally.failed(job, error);
    }
  }

  return {
    get state() {
      // n.b. the host starts a lost process again by itself.
      return state === 'ready' && host.warm === 0 ? 'loading' : state;
    },
    get reason() {
      return reason;
    },
    get host() {
      return host;
    },
    get waiting() {
      return queue.length;
    },
    offer(job) {
      if (state === 'unloadable') return tally.dropped(job, job.sequences.length);
      queue.add(job);
      pump();
    },
    limit(bounds, isCompared) {
      queue.drop((job) => !isCompared(job));
      queue.bound(bounds);
    },
    retry() {
      if (state === 'unloadable') host = begin();
    },
    async stop() {
      ended = true;
      clearTimeout(timer);
      queue.drop(() => true);
      await Promise.all([host.stop(), running]);
    },
  };
}
