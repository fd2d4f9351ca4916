import type { Logger, Service } from '@sluice/runtime';
import type { InferenceHost } from '../inference/inference-host.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import type { ModelRoutes, ServedTextModel, Shadow } from '../models/served-models.js';
import { differenceOf } from './output-difference.js';
import type { ShadowTally } from './shadow-tally.js';

/** Jobs that may wait to be compared. */
export const MOST_JOBS = 256;
/** Their token ids and rows, in bytes. */
export const MOST_BYTES = 16 * 2 ** 20;
/** How often it is looked whether the worker has nothing else to do, while jobs wait to be compared. */
const LOOK_EVERY_MS = 20;

/** A job that was answered, and is to be compared with what another version makes of it. */
export interface ShadowedJob {
  readonly jobId: string;
  /** Public name. */
  readonly model: string;
  /** What answered. */
  readonly served: ServedTextModel;
  readonly shadow: Shadow;
  /** Token ids of each text. */
  readonly sequences: readonly Int32Array[];
  /** float32 `[sequences, dimensions]` of the version that answered. */
  readonly rows: Float32Array;
}

/** The process of a shadow version. */
export interface ShadowProcess {
  readonly state: 'loading' | 'ready' | 'unloadable';
  /** Why it is `unloadable`. */
  readonly reason?: string;
  readonly host: InferenceHost;
}

/**
 * Runs answered jobs again on shadow versions and compares the outputs.
 *
 * Each shadow version has a process of its own with the lowest priority, so that whatever it does, no process that serves is lost or slowed.
 * One text runs at a time, and none begins while the worker has other work. What waits is bounded; what does not fit is dropped.
 */
export interface Shadows extends Service {
  /** By the version's key. */
  readonly processes: ReadonlyMap<string, ShadowProcess>;
  /** Jobs that wait to be compared. */
  readonly waiting: number;
  /** Takes a copy of the job to compare it some time, or drops it. */
  offer(job: ShadowedJob): void;
  /** Has a process for each shadow version of these models, and for no other. Before `start` it only says which. */
  follow(models: ReadonlyMap<string, ModelRoutes>): void;
}

export interface ShadowsOptions {
  /** One process with one model. */
  readonly createHost: (models: readonly KeyedModel[]) => InferenceHost;
  /** Whether the worker has nothing else to do. */
  readonly isQuiet: () => boolean;
  readonly tally: ShadowTally;
  readonly logger: Logger;
}

/** A job in the queue. */
interface Waiting extends ShadowedJob {
  readonly bytes: number;
  /** Position of the next text. */
  next: number;
}

export function createShadows({ createHost, isQuiet, tally, logger }: ShadowsOptions): Shadows {
  const processes = new Map<string, ShadowProcess>();
  const queue: Waiting[] = [];
  let queuedBytes = 0;
  let wanted = new Map<string, KeyedModel>();
  let state: 'created' | 'started' | 'stopped' = 'created';
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  /** What has to end before all has stopped. */
  const ending = new Set<Promise<void>>();

  function end(host: InferenceHost): void {
    const ended = host.stop();
    ending.add(ended);
    void ended.then(() => ending.delete(ended));
  }

  function begin(keyed: KeyedModel): void {
    const host = createHost([keyed]);
    const put = (process: Omit<ShadowProcess, 'host'>): void => {
      // n.b. the models may have changed meanwhile.
      if (processes.get(keyed.key)?.host === host) processes.set(keyed.key, { ...process, host });
    };
    processes.set(keyed.key, { state: 'loading', host });
    host.onIdle(pump);
    host.start().then(
      () => {
        put({ state: 'ready' });
        pump();
      },
      (error: unknown) => {
        if (processes.get(keyed.key)?.host !== host) return;
        logger.error(
          { err: error, model: keyed.key },
          'a shadow version cannot be loaded, nothing is compared with it',
        );
        put({ state: 'unloadable', reason: error instanceof Error ? error.message : String(error) });
        end(host);
      },
    );
  }

  /** One that could not be loaded is tried again. */
  function apply(): void {
    for (const [key, process] of processes) {
      if (wanted.has(key) && process.state !== 'unloadable') continue;
      processes.delete(key);
      if (process.state !== 'unloadable') end(process.host);
    }
    for (const [key, keyed] of wanted) if (!processes.has(key)) begin(keyed);
    for (const job of [...queue]) if (!wanted.has(job.shadow.served.key)) drop(job);
  }

  function remove(job: Waiting): void {
    queue.splice(queue.indexOf(job), 1);
    queuedBytes -= job.bytes;
  }

  function drop(job: Waiting): void {
    remove(job);
    tally.dropped(job, job.sequences.length - job.next);
  }

  function hostOf({ shadow }: ShadowedJob): InferenceHost | undefined {
    const process = processes.get(shadow.served.key);
    return process?.state === 'ready' && process.host.idle > 0 ? process.host : undefined;
  }

  function pump(): void {
    clearTimeout(timer);
    if (running || state !== 'started' || queue.length === 0) return;
    const job = isQuiet() ? queue.find(hostOf) : undefined;
    const host = job && hostOf(job);
    if (!host) {
      timer = setTimeout(pump, LOOK_EVERY_MS);
      return;
    }
    running = runNext(job, host).finally(() => {
      running = undefined;
      pump();
    });
  }

  /** n.b. one text a run: real work that comes meanwhile shares the processor with it, so it should be short. */
  async function runNext(job: Waiting, host: InferenceHost): Promise<void> {
    const index = job.next;
    job.next += 1;
    if (job.next === job.sequences.length) remove(job);
    const { file } = job.served.model;
    const { dimensions } = file.output;
    try {
      const { rows } = await host.run(job.shadow.served.key, [job.sequences[index] ?? new Int32Array(0)]);
      const answered = job.rows.subarray(index * dimensions, (index + 1) * dimensions);
      tally.compared(job, index, differenceOf(file, answered, rows));
    } catch (error) {
      if (state === 'started') tally.failed(job, error);
    }
  }

  return {
    processes,
    get waiting() {
      return queue.length;
    },
    offer(job) {
      if (state !== 'started' || job.sequences.length === 0) return;
      const bytes = bytesOf(job);
      const isWanted = wanted.has(job.shadow.served.key);
      if (!isWanted || queue.length >= MOST_JOBS || queuedBytes + bytes > MOST_BYTES) {
        return tally.dropped(job, job.sequences.length);
      }
      // n.b. rows are a view into what a whole batch came to.
      const sequences = job.sequences.map((sequence) => sequence.slice());
      queue.push({ ...job, sequences, rows: job.rows.slice(), bytes, next: 0 });
      queuedBytes += bytes;
      pump();
    },
    follow(models) {
      wanted = shadowsIn(models);
      if (state === 'started') apply();
    },
    async start() {
      state = 'started';
      apply();
    },
    async stop() {
      state = 'stopped';
      clearTimeout(timer);
      for (const { host, state: of } of processes.values()) if (of !== 'unloadable') end(host);
      processes.clear();
      await Promise.all([...ending, running]);
    },
  };
}

/** n.b. plain data only, for it goes to a process. */
function shadowsIn(models: ReadonlyMap<string, ModelRoutes>): Map<string, KeyedModel> {
  const shadows = [...models.values()].flatMap(({ shadow }) => shadow?.served ?? []);
  return new Map(shadows.map(({ key, model }) => [key, { key, model }]));
}

function bytesOf({ sequences, rows }: ShadowedJob): number {
  return sequences.reduce((sum, { byteLength }) => sum + byteLength, rows.byteLength);
}
