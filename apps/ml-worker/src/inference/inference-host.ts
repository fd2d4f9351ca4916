import { ServiceError } from '@sluice/contracts';
import type { TensorBytes } from '@sluice/models';
import { delay, type Service } from '@sluice/runtime';
import {
  startInferenceChild,
  UnloadableModelError,
  type InferenceChild,
  type InferenceChildOptions,
  type RunBounds,
} from './inference-child.js';
import type { KeyedModel, RunResult, TensorRunResult } from './inference-protocol.js';

/** Pause before a lost process is replaced: none after the first loss, then doubled while nothing succeeds. */
const RESTART_DELAY_MS = { first: 100, longest: 10_000 } as const;
/** How often it is looked whether the last process with an old model is still needed. */
const NEEDED_EVERY_MS = 20;
/** Replacements of lost processes that one model ends before the next is started without it. */
const LOADS_BEFORE_LEFT_OUT = 2;
/** Processes that cannot be started before texts of models that are to go are given up. */
const STARTS_BEFORE_GIVEN_UP = 3;
/** A process that grew too large within this many runs is replaced after a pause, since the next one will do the same. */
const FEW_RUNS = 10;
/** Time between two lines about processes that grew too large, at least. */
const OUTGROWN_LINE_EVERY_MS = 60_000;

export interface InferenceHostOptions extends InferenceChildOptions {
  /** How many processes; each runs one batch at a time on `threads` cores. */
  readonly processes: number;
  /** How often the memory of running processes is looked at, in milliseconds; 100 when absent. */
  readonly memoryCheckMs?: number;
  /** Called whenever a process ended unasked. */
  readonly onLost?: () => void;
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
   * Starts the processes with these models, or with those of the options. Resolves when the first one is warm. When all ended
   * before that, it may be called again.
   *
   * @throws ServiceError `model_unavailable`, also while the host stops; an `UnloadableModelError` when one of the models is the
   *   reason.
   */
  start(models?: readonly KeyedModel[]): Promise<void>;
  /** Processes that could take a run now. */
  readonly idle: number;
  /** Processes that are idle or busy. */
  readonly warm: number;
  /** What the process that became warm last took to load and warm its models, in milliseconds; 0 before the first. */
  readonly loadMs: number;
  /** Ids of the living processes. */
  readonly pids: readonly number[];
  readonly memory: InferenceMemory;
  /**
   * Why models that are served could not be loaded any more when lost processes were replaced, by their keys: processes are started
   * without them, and at least one model is always left. They come back with a call of `serve` whose first process can load them.
   */
  readonly leftOut: ReadonlyMap<string, string>;
  /** Why no process has a model any more and none is being started with it, by its key: texts must not wait for these. */
  readonly unavailable: ReadonlyMap<string, string>;
  /** Whether a process that is idle now has this model loaded. */
  canRun(model: string): boolean;
  /** Called whenever a process becomes idle, and when a model becomes unavailable. */
  onIdle(listener: () => void): void;
  /** See `InferenceChild.run`; only while `canRun` says so. */
  run(model: string, sequences: readonly Int32Array[], bounds?: RunBounds): Promise<RunResult>;
  /** See `InferenceChild.runTensors`; only while `canRun` says so. */
  runTensors(model: string, tensors: readonly TensorBytes[], bounds?: RunBounds): Promise<TensorRunResult>;
  /**
   * Has every process serve exactly these models; one call at a time, between `start` and `stop`. Processes are replaced one
   * at a time by new ones that have loaded and warmed all of them, so work goes on meanwhile, a damaged model never reaches
   * a process that works, and the memory of models that go is really freed. The last old process is kept until none of the models
   * that only it has is needed. When no process can be started with a model that is needed it becomes `unavailable`, for as long as
   * that takes.
   *
   * A model that was left out before and still cannot be loaded stays left out; when nothing else would change, nothing does.
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
  /** Processes of this place that grew too large within a few runs since one did not. */
  outgrownInARow: number;
}

export function createInferenceHost(options: InferenceHostOptions): InferenceHost {
  const { logger, memoryLimitBytes, memoryCheckMs = 100 } = options;
  /** All that live, the newest last. Those without a slot are to go. */
  const children = new Set<InferenceChild>();
  const slots: Slot[] = [];
  /** What has to end before the host has stopped. */
  const tasks = new Set<Promise<void>>();
  const stopping = new AbortController();
  /** What is served. Processes are started with it, but for what is left out. */
  let models = options.models;
  const leftOut = new Map<string, string>();
  const unavailable = new Map<string, string>();
  /** Replacements that a model ended since one loaded it, by its key. */
  const failedLoads = new Map<string, number>();
  /** By key, of all that was ever served since the processes were exchanged last. */
  const modelBytes = new Map<string, number>();
  let idleListener: () => void = () => undefined;
  let replacing = false;
  let loadMs = 0;
  /** Not yet told. */
  let outgrown = 0;
  let outgrownLineAtMs = -Infinity;
  let memoryTimer: NodeJS.Timeout | undefined;

  function startChild(of: readonly KeyedModel[]): InferenceChild {
    const child = startInferenceChild({ ...options, models: of });
    children.add(child);
    void child.gone.then(() => {
      children.delete(child);
      noteUnavailable();
    });
    track(welcome(child));
    return child;
  }

  function isStopping(): boolean {
    return stopping.signal.aborted;
  }

  function loadable(): readonly KeyedModel[] {
    return leftOut.size === 0 ? models : models.filter(({ key }) => !leftOut.has(key));
  }

  /** Whether a process has a model, or is loading it. */
  function isHeld(key: string): boolean {
    for (const child of children) if (isUseful(child) && child.has(key)) return true;
    return false;
  }

  function noteUnavailable(): void {
    for (const [key, reason] of leftOut) if (!isHeld(key)) makeUnavailable(key, reason);
  }

  function makeUnavailable(key: string, reason: string): void {
    if (unavailable.has(key)) return;
    unavailable.set(key, reason);
    idleListener();
  }

  /** Models come back with the first process that could load them. */
  function hasLoaded(child: InferenceChild): void {
    for (const [key, bytes] of child.modelBytes) {
      modelBytes.set(key, bytes);
      failedLoads.delete(key);
      unavailable.delete(key);
      if (leftOut.delete(key)) logger.info({ model: key }, 'a model that was left out can be loaded again');
    }
  }

  /** Counts what kept a replacement from being warm; the model that did so again is left out, if others are left. */
  function hasNotLoaded({ model, reason }: UnloadableModelError): void {
    const failed = (failedLoads.get(model) ?? 0) + 1;
    failedLoads.set(model, failed);
    if (failed < LOADS_BEFORE_LEFT_OUT || !loadable().some(({ key }) => key !== model)) return;
    if (leftOut.has(model) || !models.some(({ key }) => key === model)) return;
    leftOut.set(model, reason);
    logger.error({ model, reason }, 'a model cannot be loaded any more: lost processes are replaced without it');
    noteUnavailable();
  }

  function track(task: Promise<void>): void {
    tasks.add(task);
    void task.then(() => tasks.delete(task));
  }

  async function welcome(child: InferenceChild): Promise<void> {
    const beganMs = performance.now();
    try {
      await child.warm;
      loadMs = performance.now() - beganMs;
      hasLoaded(child);
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
    const isToBeKept = (): boolean => slots.includes(slot) && slot.child === child && !isStopping();
    await child.gone;
    if (!isToBeKept()) return;
    const problem = await problemOf(child);
    if (problem instanceof UnloadableModelError) hasNotLoaded(problem);
    if (!child.givenUp) await pauseAfterLoss(child, slot);
    else if (outgrewSoon(child)) await delay(restartDelayMs(slot.outgrownInARow++), stopping.signal);
    if (isToBeKept()) put(startChild(loadable()), slot);
  }

  async function pauseAfterLoss(child: InferenceChild, slot: Pick<Slot, 'lossesInARow'>): Promise<void> {
    const delayMs = restartDelayMs(slot.lossesInARow);
    slot.lossesInARow += 1;
    options.onLost?.();
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
    for (const slot of slots) {
      if (slot.child !== child) continue;
      slot.lossesInARow = 0;
      if (child.runs > FEW_RUNS) slot.outgrownInARow = 0;
    }
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
    outgrown += 1;
    const nowMs = performance.now();
    if (nowMs - outgrownLineAtMs >= OUTGROWN_LINE_EVERY_MS) {
      const { pid, memoryBytes: bytes, runs } = child;
      logger.warn(
        { child: pid, bytes, runs, processes: outgrown },
        'inference processes grew too large and are replaced',
      );
      [outgrown, outgrownLineAtMs] = [0, nowMs];
    }
    void child.retire();
  }

  /** Has new processes take over all slots, and ends the old ones, the last one when its models are not needed any more. */
  async function replaceAll(first: InferenceChild, leaving: Leaving): Promise<void> {
    const old = new Set(slots.map(({ child }) => child).filter(isAlive));
    for (const child of old) void child.gone.then(() => old.delete(child));
    for (const slot of slots) {
      if (isStopping()) return;
      // n.b. a slot whose process was lost in the meantime has a new one already.
      if (slot !== slots[0] && !old.has(slot.child)) continue;
      const next = slot === slots[0] ? first : startChild(loadable());
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

  /**
   * Waits until leaving models are not needed any more, and sees to it that there is a process until then that has those that are. When
   * none can be started they become unavailable.
   */
  async function outlast(old: Set<InferenceChild>, { of, isNeeded }: Leaving): Promise<void> {
    const place = { lossesInARow: 0 };
    for (;;) {
      const needed = of.filter(({ key }) => isNeeded(key));
      if (needed.length === 0 || isStopping()) return;
      const wanted = needed.filter(({ key }) => !isHeld(key) && !unavailable.has(key));
      if (wanted.length > 0) {
        const child = startChild(wanted);
        old.add(child);
        void child.gone.then(() => old.delete(child));
        const problem = await problemOf(child);
        if (problem === undefined) place.lossesInARow = 0;
        else await hasNotOutlasted(child, wanted, problem, place);
      }
      await delay(NEEDED_EVERY_MS, stopping.signal);
    }
  }

  async function hasNotOutlasted(
    child: InferenceChild,
    wanted: readonly KeyedModel[],
    problem: Error,
    place: Pick<Slot, 'lossesInARow'>,
  ): Promise<void> {
    if (isStopping()) return;
    await pauseAfterLoss(child, place);
    if (place.lossesInARow < STARTS_BEFORE_GIVEN_UP || isStopping()) return;
    place.lossesInARow = 0;
    const lost = problem instanceof UnloadableModelError ? [problem.model] : wanted.map(({ key }) => key);
    logger.error({ err: problem, models: lost }, 'texts of models that are to go are given up');
    for (const key of lost) makeUnavailable(key, problem.message);
  }

  /** Starts the first process of a change: without models that were left out before and still cannot be loaded. */
  async function startFirst(wanted: readonly KeyedModel[]): Promise<InferenceChild> {
    let tried = wanted;
    for (;;) {
      const child = startChild(tried);
      const problem = await problemOf(child);
      if (!problem) return child;
      if (!(problem instanceof UnloadableModelError) || !leftOut.has(problem.model)) throw problem;
      leftOut.set(problem.model, problem.reason);
      tried = tried.filter(({ key }) => key !== problem.model);
      if (tried.length === 0) throw problem;
    }
  }

  return {
    get idle() {
      return count('idle');
    },
    get warm() {
      return count('idle', 'busy');
    },
    get loadMs() {
      return loadMs;
    },
    get pids() {
      return [...children].map((child) => child.pid).filter((pid) => pid !== undefined);
    },
    get memory() {
      const processes = [...children].map((child) => [child.pid ?? 0, child.memoryBytes] as const);
      return { processes: new Map(processes), models: modelBytes };
    },
    leftOut,
    unavailable,
    canRun: (model) => findIdle(model) !== undefined,
    onIdle(listener) {
      idleListener = listener;
    },
    async start(wanted = models) {
      if (isStopping()) throw stopped();
      models = wanted;
      if (memoryLimitBytes !== undefined) {
        memoryTimer ??= setInterval(() => children.forEach((child) => child.checkMemory()), memoryCheckMs);
      }
      const first = Array.from({ length: options.processes }, () => startChild(models));
      const isWarm = await Promise.any(first.map(({ warm }) => warm.then(() => true))).catch(() => false);
      if (!isWarm) {
        await Promise.all(first.map(({ gone }) => gone));
        throw worstOf(await Promise.all(first.map(problemOf)));
      }
      for (const child of first) {
        const slot: Slot = { child, lossesInARow: 0, outgrownInARow: 0 };
        slots.push(slot);
        put(child, slot);
      }
    },
    async stop() {
      stopping.abort();
      clearInterval(memoryTimer);
      await Promise.all([...children].map((child) => child.stop()));
      await Promise.all(tasks);
    },
    run: (model, sequences, bounds) => lend(model, (child) => child.run(model, sequences, bounds)),
    runTensors: (model, tensors, bounds) => lend(model, (child) => child.runTensors(model, tensors, bounds)),
    async serve(wanted, hooks) {
      if (isStopping()) throw stopped();
      if (replacing || slots.length === 0) throw new Error('other models cannot be served now');
      replacing = true;
      try {
        const missing = leftOut.size;
        const first = await startFirst(wanted);
        if (missing > 0 && leftOut.size === missing && isSame(wanted, models)) return await first.retire();
        await tell(hooks, first);
        const keys = new Set(wanted.map(({ key }) => key));
        const leaving = models.filter(({ key }) => !keys.has(key));
        models = wanted;
        const replaced = replaceAll(first, { of: leaving, isNeeded: (key) => hooks.stillNeeded(key) });
        track(replaced);
        await replaced;
        for (const map of [modelBytes, leftOut, unavailable, failedLoads]) {
          for (const key of map.keys()) if (!keys.has(key)) map.delete(key);
        }
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

/** Models that are not served any more. */
interface Leaving {
  readonly of: readonly KeyedModel[];
  readonly isNeeded: (key: string) => boolean;
}

/** Why a process did not become warm; undefined when it did. */
function problemOf({ warm }: InferenceChild): Promise<Error | undefined> {
  return warm.then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
}

/** What says most about why no process became warm: that one said which model is the reason, else that one ended while it loaded it. */
function worstOf(problems: readonly unknown[]): unknown {
  const unloadable = problems.filter((problem) => problem instanceof UnloadableModelError);
  return unloadable.find(({ wordless }) => !wordless) ?? unloadable[0] ?? problems[0];
}

function outgrewSoon({ isTooLarge, runs }: InferenceChild): boolean {
  return isTooLarge && runs <= FEW_RUNS;
}

function isSame(a: readonly KeyedModel[], b: readonly KeyedModel[]): boolean {
  const keys = new Set(a.map(({ key }) => key));
  return a.length === b.length && b.every(({ key }) => keys.has(key));
}

function stopped(): ServiceError {
  return new ServiceError('model_unavailable', 'The inference processes are being stopped.');
}

function isUseful({ state }: InferenceChild): boolean {
  return state !== 'ending' && state !== 'gone';
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
