import { ServiceError } from '@sluice/contracts';
import type { TensorBytes } from '@sluice/models';
import { delay, type Service } from '@sluice/runtime';
import { startInferenceChild, type InferenceChild, type InferenceChildOptions } from './inference-child.js';
import type { KeyedModel, RunResult, TensorRunResult } from './inference-protocol.js';

/** Pause before a lost process is replaced: none after the first loss, then doubled while nothing succeeds. */
const RESTART_DELAY_MS = { first: 100, longest: 10_000 } as const;
/** How often it is looked whether the last process with an old model is still needed. */
const NEEDED_EVERY_MS = 20;

export interface InferenceHostOptions extends InferenceChildOptions {
  /** How many processes; each runs one batch at a time on `threads` cores. */
  readonly processes: number;
  /** How often the memory of running processes is looked at, in milliseconds; 100 when absent. */
  readonly memoryCheckMs?: number;
}

/** What somebody who has other models served wants to know and has to tell. */
export interface ServeHooks {
  /** Called once, as soon as a process with the new models is warm: from then on both sets run. What it throws stops the change. */
  onServing(): void;
  /** Whether texts of a model that is to go are still waiting or running. */
  stillNeeded(key: string): boolean;
}

/** Resident memory in bytes. */
export interface InferenceMemory {
  /** By process id. */
  readonly processes: ReadonlyMap<number, number>;
  /** What loading and warming each served model added, in the process that was started last with it. */
  readonly models: ReadonlyMap<string, number>;
}

/**
 * Keeps a fixed number of inference processes alive and lends them out. `stop` ends idle processes gently; one that is still
 * running is killed.
 */
export interface InferenceHost extends Service {
  /**
   * Starts the processes with these models, or with those of the options. Resolves when the first one is warm. When a process
   * ends before that, all are ended, and it may be called again.
   *
   * @throws ServiceError `model_unavailable`; it is an `UnloadableModelError` when one of the models is the reason.
   */
  start(models?: readonly KeyedModel[]): Promise<void>;
  /** Processes that could take a run now. */
  readonly idle: number;
  /** Processes that are idle or busy. */
  readonly warm: number;
  /** Ids of the living processes. */
  readonly pids: readonly number[];
  readonly memory: InferenceMemory;
  /** Whether a process that is idle now has this model loaded. */
  canRun(model: string): boolean;
  /** Called whenever a process becomes idle. */
  onIdle(listener: () => void): void;
  /** See `InferenceChild.run`; only while `canRun` says so. */
  run(model: string, sequences: readonly Int32Array[], stop?: AbortSignal): Promise<RunResult>;
  /** See `InferenceChild.runTensors`; only while `canRun` says so. */
  runTensors(model: string, tensors: readonly TensorBytes[], stop?: AbortSignal): Promise<TensorRunResult>;
  /**
   * Has every process serve exactly these models; one call at a time, between `start` and `stop`. Processes are replaced one
   * at a time by new ones that have loaded and warmed all of them, so work goes on meanwhile, a damaged model never reaches
   * a process that works, and the memory of models that go is really freed. The last old process is kept until none of the models
   * that only it has is needed.
   *
   * Resolves when the old processes are told to go. Once a first process is warm there is no way back but another call: a later
   * process that cannot be started is tried again as any process that is lost, and the others do its work.
   *
   * @throws ServiceError `model_unavailable` when the first new process cannot load or warm the models (an `UnloadableModelError`
   *   when one of them is the reason), or what `onServing` throws; then the old ones go on as if nothing had been asked.
   */
  serve(models: readonly KeyedModel[], hooks: ServeHooks): Promise<void>;
}

/** The place of one process; another takes it when that is lost or has to go. */
interface Slot {
  child: InferenceChild;
  /** Processes of this place that were lost since one ran something. */
  lossesInARow: number;
}

export function createInferenceHost(options: InferenceHostOptions): InferenceHost {
  const { logger, memoryLimitBytes, memoryCheckMs = 100 } = options;
  /** All that live, the newest last. Those without a slot are to go. */
  const children = new Set<InferenceChild>();
  const slots: Slot[] = [];
  /** What has to end before the host has stopped. */
  const tasks = new Set<Promise<void>>();
  const stopping = new AbortController();
  /** What processes are started with. */
  let models = options.models;
  /** By key, of all that was ever served since the processes were exchanged last. */
  const modelBytes = new Map<string, number>();
  let idleListener: () => void = () => undefined;
  let replacing = false;
  let memoryTimer: NodeJS.Timeout | undefined;

  function startChild(of: readonly KeyedModel[]): InferenceChild {
    const child = startInferenceChild({ ...options, models: of });
    children.add(child);
    void child.gone.then(() => children.delete(child));
    track(welcome(child));
    return child;
  }

  function track(task: Promise<void>): void {
    tasks.add(task);
    void task.then(() => tasks.delete(task));
  }

  async function welcome(child: InferenceChild): Promise<void> {
    try {
      await child.warm;
      for (const [key, bytes] of child.modelBytes) modelBytes.set(key, bytes);
      logger.info({ child: child.pid, warm: count('idle', 'busy') }, 'an inference process is warm');
      idleListener();
    } catch (error) {
      if (!child.givenUp) logger.error({ err: error }, 'an inference process could not load its models');
    }
  }

  /** Gives a slot to a process, and to others after it whenever the one that has the slot is lost. */
  function put(child: InferenceChild, slot: Slot): void {
    slot.child = child;
    track(restartWhenLost(child, slot));
  }

  async function restartWhenLost(child: InferenceChild, slot: Slot): Promise<void> {
    const isToBeKept = (): boolean => slots.includes(slot) && slot.child === child && !stopping.signal.aborted;
    await child.gone;
    if (isToBeKept() && !child.givenUp) await pauseAfterLoss(child, slot);
    if (isToBeKept()) put(startChild(models), slot);
  }

  async function pauseAfterLoss(child: InferenceChild, slot: Pick<Slot, 'lossesInARow'>): Promise<void> {
    const delayMs = restartDelayMs(slot.lossesInARow);
    slot.lossesInARow += 1;
    logger.warn({ child: child.pid, delayMs }, 'an inference process was lost and will be replaced');
    await delay(delayMs, stopping.signal);
  }

  /** The newest that is idle and has the model, so that those that are to go have less to do. */
  function findIdle(model: string): InferenceChild | undefined {
    let found: InferenceChild | undefined;
    for (const child of children) if (child.state === 'idle' && child.has(model)) found = child;
    return found;
  }

  function count(...states: readonly InferenceChild['state'][]): number {
    let counted = 0;
    for (const { state } of children) if (states.includes(state)) counted += 1;
    return counted;
  }

  function hasWorked(child: InferenceChild): void {
    for (const slot of slots) if (slot.child === child) slot.lossesInARow = 0;
  }

  /** @throws ServiceError `model_unavailable` when no process that is idle has the model; what the run throws. */
  async function lend<Result>(model: string, run: (child: InferenceChild) => Promise<Result>): Promise<Result> {
    const child = findIdle(model);
    if (!child) throw new ServiceError('model_unavailable', 'No idle inference process has the model.');
    try {
      const result = await run(child);
      hasWorked(child);
      return result;
    } finally {
      hasRun(child);
    }
  }

  /** What a run allocated at its peak stays with the process, so one that grew too large is replaced. */
  function hasRun(child: InferenceChild): void {
    if (child.state !== 'idle') return;
    if (!child.isTooLarge) return idleListener();
    logger.warn({ child: child.pid, bytes: child.memoryBytes }, 'an inference process grew too large and is replaced');
    void child.retire();
  }

  /** Has new processes take over all slots, and ends the old ones, the last one when its models are not needed any more. */
  async function replaceAll(first: InferenceChild, leaving: Leaving): Promise<void> {
    const old = new Set(slots.map(({ child }) => child).filter(isAlive));
    for (const child of old) void child.gone.then(() => old.delete(child));
    for (const slot of slots) {
      if (stopping.signal.aborted) return;
      // n.b. a slot whose process was lost in the meantime has a new one already.
      if (slot !== slots[0] && !old.has(slot.child)) continue;
      const next = slot === slots[0] ? first : startChild(models);
      put(next, slot);
      await next.warm.catch(() => undefined);
      const [one, other] = old;
      if (one && other) {
        old.delete(one);
        void one.retire();
      }
    }
    await outlast(old, leaving);
    for (const child of old) void child.retire();
  }

  /** Waits until leaving models are not needed any more, and sees to it that one of the old processes lives until then. */
  async function outlast(old: Set<InferenceChild>, { of, isNeeded }: Leaving): Promise<void> {
    const place = { lossesInARow: 0 };
    while (isNeeded() && !stopping.signal.aborted) {
      if (old.size === 0) {
        const child = startChild(of);
        old.add(child);
        void child.gone.then(() => old.delete(child));
        await child.warm.catch(() => pauseAfterLoss(child, place));
      }
      await delay(NEEDED_EVERY_MS, stopping.signal);
    }
  }

  return {
    get idle() {
      return count('idle');
    },
    get warm() {
      return count('idle', 'busy');
    },
    get pids() {
      return [...children].map((child) => child.pid).filter((pid) => pid !== undefined);
    },
    get memory() {
      const processes = [...children].map((child) => [child.pid ?? 0, child.memoryBytes] as const);
      return { processes: new Map(processes), models: modelBytes };
    },
    canRun: (model) => findIdle(model) !== undefined,
    onIdle(listener) {
      idleListener = listener;
    },
    async start(wanted = models) {
      models = wanted;
      if (memoryLimitBytes !== undefined) {
        memoryTimer ??= setInterval(() => children.forEach((child) => child.checkMemory()), memoryCheckMs);
      }
      for (let started = 0; started < options.processes; started += 1) {
        const slot: Slot = { child: startChild(models), lossesInARow: 0 };
        slots.push(slot);
        put(slot.child, slot);
      }
      try {
        await Promise.race(slots.map(({ child }) => child.warm));
      } catch (error) {
        await Promise.all(slots.splice(0).map(({ child }) => child.retire()));
        throw error;
      }
    },
    async stop() {
      stopping.abort();
      clearInterval(memoryTimer);
      await Promise.all([...children].map((child) => child.stop()));
      await Promise.all(tasks);
    },
    run: (model, sequences, stop) => lend(model, (child) => child.run(model, sequences, stop)),
    runTensors: (model, tensors, stop) => lend(model, (child) => child.runTensors(model, tensors, stop)),
    async serve(wanted, hooks) {
      if (replacing || slots.length === 0 || stopping.signal.aborted)
        throw new Error('other models cannot be served now');
      replacing = true;
      try {
        const first = startChild(wanted);
        await first.warm;
        await tell(hooks, first);
        const of = models;
        const keys = new Set(wanted.map(({ key }) => key));
        const leaving = of.filter(({ key }) => !keys.has(key));
        models = wanted;
        const replaced = replaceAll(first, { of, isNeeded: () => leaving.some(({ key }) => hooks.stillNeeded(key)) });
        track(replaced);
        await replaced;
        for (const key of modelBytes.keys()) if (!keys.has(key)) modelBytes.delete(key);
      } finally {
        replacing = false;
      }
    },
  };
}

/** Has the work sent to new models, or ends their first process when that cannot be. */
async function tell({ onServing }: Pick<ServeHooks, 'onServing'>, first: InferenceChild): Promise<void> {
  try {
    onServing();
  } catch (error) {
    await first.retire();
    throw error;
  }
}

/** Models of which some are not served any more. */
interface Leaving {
  readonly of: readonly KeyedModel[];
  readonly isNeeded: () => boolean;
}

/** What the processes of several hosts have. */
export function memoryOfAll(hosts: readonly Pick<InferenceHost, 'memory'>[]): InferenceMemory {
  const memories = hosts.map(({ memory }) => memory);
  return {
    processes: new Map(memories.flatMap(({ processes }) => [...processes])),
    models: new Map(memories.flatMap(({ models }) => [...models])),
  };
}

function isAlive({ state }: InferenceChild): boolean {
  return state !== 'gone';
}

function restartDelayMs(lossesInARow: number): number {
  if (lossesInARow === 0) return 0;
  return Math.min(RESTART_DELAY_MS.longest, RESTART_DELAY_MS.first * 2 ** (lossesInARow - 1));
}
