import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setPriority } from 'node:os';
import type { Duplex } from 'node:stream';
import { ServiceError } from '@sluice/contracts';
import type { TensorBytes } from '@sluice/models';
import type { SessionOptions } from '@sluice/models/session';
import type { Logger } from '@sluice/runtime';
import {
  createFrameReader,
  readResult,
  readTensorResult,
  runFrame,
  tensorRunFrame,
  textFrame,
  type Frame,
} from './frames.js';
import {
  FRAME,
  FRAME_PIPE,
  type KeyedModel,
  type LoadOrder,
  type RunResult,
  type TensorRunResult,
  type UnloadableReport,
  type WarmReport,
} from './inference-protocol.js';
import { logLines } from './process-lines.js';
import { residentBytes } from './process-memory.js';
import { processorMs } from './process-time.js';
import { createTimeLimit, type TimeLimit } from './time-limit.js';

/** How long loading and warming all models may take where nobody says. */
const LOAD_TIMEOUT_MS = 120_000;
/** A timer that is later than this tells that the worker itself stood still. */
const STOOD_STILL_MS = 500;
/** How long a process that was told to end may take. */
const END_TIMEOUT_MS = 5_000;
const MEBIBYTE = 2 ** 20;

export interface InferenceChildOptions extends Required<SessionOptions> {
  /** Path of the built inference-process module. */
  readonly modulePath: string;
  readonly models: readonly KeyedModel[];
  /** Environment of the process; it needs no secrets and should get none. */
  readonly environment: Readonly<NodeJS.ProcessEnv>;
  /** A run that takes longer is ended together with its process, unless it has a limit of its own. */
  readonly timeoutMs: number;
  /** Its niceness, −20 … 19 (sched(7)); that of the worker when absent. */
  readonly niceness?: number;
  /** A process that takes longer to load and warm all models is ended; in milliseconds, two minutes when absent. */
  readonly loadTimeoutMs?: number;
  /**
   * How many times these limits of time may pass by the clock while the process has not had the processor for that long, as one of low
   * priority; 1 when absent.
   */
  readonly patience?: number;
  /** Resident memory of the process in bytes from which on it is ended; any when absent. */
  readonly memoryLimitBytes?: number | undefined;
  /** Most bytes of the tensors that a run gives: with more it has failed. Any when absent. */
  readonly maxOutputBytes?: number | undefined;
  readonly logger: Logger;
}

/** What ends a run before it ends by itself. */
export interface RunBounds {
  /** Its abort kills the process; the reason of the abort is thrown. */
  readonly stop?: AbortSignal;
  /** The run is ended together with its process when it takes longer, in milliseconds; `timeoutMs` of the options when absent. */
  readonly limitMs?: number;
  /** Hears which process runs it. */
  readonly onProcess?: (pid: number) => void;
}

/**
 * One inference process.
 *
 * ```
 * warming ──▶ idle ──run▶ busy ──(result, failed)▶ idle
 *    │          └──retire─▶ ending ◀─(retired)─┤
 *    └──────────────────────▶ gone ◀───(exit, killed)
 * ```
 */
export interface InferenceChild {
  readonly pid: number | undefined;
  readonly state: 'warming' | 'idle' | 'busy' | 'ending' | 'gone';
  /**
   * Resolves when runs may begin. Rejects with `model_unavailable` when the process ends first: with `UnloadableModelError`
   * when the process said that a model cannot be loaded, or ended or took too long while it loaded one, unless it is the worker
   * that gave it up.
   */
  readonly warm: Promise<void>;
  /** Whether the worker itself ended the process, for a reason that is not the process's fault. */
  readonly givenUp: boolean;
  /** Resolves when the process is gone. Never rejects. */
  readonly gone: Promise<void>;
  /** Resident memory in bytes as far as it is known; 0 before the process is warm where there is no `/proc`. */
  readonly memoryBytes: number;
  /** Whether the memory that the process told with its latest result is above the limit. */
  readonly isTooLarge: boolean;
  /** Runs that it began. */
  readonly runs: number;
  /** What loading and warming each model added to it; empty before the process is warm. */
  readonly modelBytes: ReadonlyMap<string, number>;
  /** Whether it loads or has loaded a model. */
  has(model: string): boolean;
  /**
   * Runs texts of one model; only while idle.
   *
   * @throws ServiceError `inference_failed` (the process works on), `inference_crashed` (it is gone, or there was no memory for the run)
   *   or `inference_timeout` (it is gone).
   */
  run(model: string, sequences: readonly Int32Array[], bounds?: RunBounds): Promise<RunResult>;
  /** The same for the inputs of a model of tensors, in the order of its `model.yaml`. */
  runTensors(model: string, tensors: readonly TensorBytes[], bounds?: RunBounds): Promise<TensorRunResult>;
  /** Looks at the memory of a process that is running, and kills it when it is above the limit. */
  checkMemory(): void;
  /** Ends the process when its run, if it has one, is over; it takes no other. Resolves when it is gone. */
  retire(): Promise<void>;
  /** Ends the process: by itself when it is idle, else by SIGKILL. Resolves when it is gone. */
  stop(): Promise<void>;
}

/** One of the models is the reason why a process could not be warmed. */
export class UnloadableModelError extends ServiceError {
  /** Its key. */
  readonly model: string;
  readonly reason: string;
  /** Whether the process ended, or took too long, without a word about it: then something else may be the reason. */
  readonly wordless: boolean;

  constructor({ model, reason, wordless = false }: UnloadableReport & { readonly wordless?: boolean }) {
    const problem = `${model}: ${reason}`;
    super('model_unavailable', `The models could not be loaded: ${problem}`, { cause: problem });
    this.model = model;
    this.reason = reason;
    this.wordless = wordless;
  }
}

/** A run took too long by the clock, and its process had too little of the processor to say that the model is slow. */
export class StarvedRunError extends ServiceError {
  constructor(timeoutMs: number) {
    super('inference_timeout', `Inference did not get the processor for ${timeoutMs} ms in time.`);
  }
}

interface Run {
  readonly id: number;
  /** Takes the body of the result; returns the memory of the process that it tells. */
  readonly resolve: (body: Buffer) => number;
  readonly reject: (error: unknown) => void;
  /** Stops listening for whoever might stop it. */
  readonly leave: () => void;
}

/** How a run is asked for, and how its result is read. */
interface RunForm<Report> {
  readonly frameOf: (id: number, model: number) => Buffer;
  readonly read: (body: Buffer) => Report;
}

/** Starts a process and lets it load the models. One that cannot be started is gone at once, and never warm. */
export function startInferenceChild(options: InferenceChildOptions): InferenceChild {
  let child: ChildProcess;
  try {
    // n.b. what a run leaves behind is outside of V8's heap: a larger young generation only takes memory.
    child = spawn(process.execPath, ['--expose-gc', '--max-semi-space-size=1', options.modulePath], {
      env: { ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
  } catch (error) {
    return unstarted(options, error instanceof Error ? error.message : String(error));
  }
  // n.b. where no file descriptors are left a process has no streams, whatever their type says.
  const streams: ChildProcess['stdio'] | undefined = child.stdio;
  if (streams) return follow(child, streams[FRAME_PIPE] as Duplex, options);
  child.on('error', () => undefined);
  return unstarted(options, 'no file descriptors are left');
}

/** Stands for a process that there never was. */
function unstarted({ models }: InferenceChildOptions, reason: string): InferenceChild {
  const keys = new Set(models.map(({ key }) => key));
  const warming = deferred();
  const problem = `the inference process could not be started: ${reason}`;
  warming.reject(unavailable(problem));
  const run = (): Promise<never> => Promise.reject(crashed('There is no inference process.', problem));
  return {
    ...{ pid: undefined, state: 'gone', givenUp: false, memoryBytes: 0, isTooLarge: false, runs: 0 },
    warm: warming.promise,
    gone: Promise.resolve(),
    modelBytes: new Map(),
    has: (model) => keys.has(model),
    ...{ run, runTensors: run, checkMemory: () => undefined },
    ...{ retire: () => Promise.resolve(), stop: () => Promise.resolve() },
  };
}

function follow(child: ChildProcess, pipe: Duplex, options: InferenceChildOptions): InferenceChild {
  const { logger, models, memoryLimitBytes = Infinity, loadTimeoutMs = LOAD_TIMEOUT_MS } = options;
  if (options.niceness !== undefined) beNice(child.pid, options.niceness, logger);
  logLines(
    [child.stdout, child.stderr].filter((stream) => stream !== null),
    child.pid,
    logger,
  );
  const positions = new Map(models.map(({ key }, position) => [key, position]));
  let state: InferenceChild['state'] = 'warming';
  let current: Run | undefined;
  let runs = 0;
  let problem: string | undefined;
  /** Whether the process itself said which model it cannot load. */
  let said = false;
  /** Key of the model that is being loaded. */
  let loading: string | undefined;
  /** What a run that is under way ends with when the process was killed on purpose. */
  let verdict: { readonly error: unknown } | undefined;
  let givenUp = false;
  let retired = false;
  let memoryBytes = 0;
  let modelBytes: ReadonlyMap<string, number> = new Map();
  let deadline: NodeJS.Timeout | undefined;
  const warming = deferred();
  const gone = endOf(child, pipe).then((how) => {
    state = 'gone';
    problem ??= `the inference process ended: ${how}`;
    warming.reject(
      loading === undefined || givenUp
        ? unavailable(problem)
        : new UnloadableModelError({ model: loading, reason: problem, wordless: !said }),
    );
    finish()?.reject(verdict ? verdict.error : crashed('The inference process ended during the run.', problem));
  });

  /** Takes the run that is under way, so that it is answered once. */
  function finish(): Run | undefined {
    clearTimeout(deadline);
    const run = current;
    current = undefined;
    run?.leave();
    return run;
  }

  /** A run blocks its process: nothing gentler than the end of the process can stop it. */
  function kill(error: unknown): void {
    verdict ??= { error };
    child.kill('SIGKILL');
  }

  function timeLimit(limitMs: number): TimeLimit {
    return createTimeLimit({
      ...{ limitMs, patience: options.patience ?? 1, threads: options.threads },
      usedMs: () => (child.pid === undefined ? undefined : processorMs(child.pid)),
      now: () => performance.now(),
    });
  }

  function killAfter(timeoutMs: number, limit = timeLimit(timeoutMs)): void {
    const leftMs = limit.leftMs();
    const dueAtMs = performance.now() + leftMs;
    deadline = setTimeout(() => {
      // n.b. what the process did meanwhile was not read, and perhaps it could not do anything either.
      if (performance.now() - dueAtMs > STOOD_STILL_MS) return killAfter(timeoutMs);
      if (limit.leftMs() > 0) return killAfter(timeoutMs, limit);
      logger.error({ child: child.pid, timeoutMs, state }, 'an inference process overran its time and is killed');
      problem ??= `the inference process took longer than ${timeoutMs} ms`;
      kill(
        limit.isStarved()
          ? new StarvedRunError(timeoutMs)
          : new ServiceError('inference_timeout', `Inference took longer than ${timeoutMs} ms.`),
      );
    }, leftMs);
  }

  function stopRun(id: number, reason: unknown): void {
    if (current?.id !== id) return;
    givenUp = true;
    kill(reason);
  }

  /** Lets the process end by itself, which it does when its pipe closes. */
  function endGently(): void {
    state = 'ending';
    pipe.end();
    clearTimeout(deadline);
    deadline = setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS);
  }

  /** n.b. the answer may have crossed with the kill: then the process takes no other run. */
  function becomeIdle(): void {
    if (verdict) return;
    if (retired) endGently();
    else state = 'idle';
  }

  function isWarm({ memoryBytes: bytes, modelBytes: added }: WarmReport): void {
    clearTimeout(deadline);
    loading = undefined;
    memoryBytes = bytes;
    modelBytes = new Map(models.map(({ key }, position) => [key, added[position] ?? 0]));
    if (bytes > memoryLimitBytes) {
      problem = `loading the models takes ${inMebibytes(bytes)} of memory, more than the ${inMebibytes(memoryLimitBytes)} allowed`;
      child.kill('SIGKILL');
      return;
    }
    becomeIdle();
    warming.resolve();
  }

  function hasAnswered(run: Run, { kind, body }: Frame): void {
    finish();
    if (kind === FRAME.failed) run.reject(failed(body.toString()));
    else if (kind === FRAME.exhausted) run.reject(crashed('There was no memory for the run.', body.toString()));
    else if (kind === FRAME.refused) run.reject(new ServiceError('inference_failed', body.toString()));
    else takeResult(run, body);
    becomeIdle();
  }

  /** n.b. whoever gives nonsense takes no other run. */
  function takeResult(run: Run, body: Buffer): void {
    try {
      memoryBytes = run.resolve(body);
    } catch (error) {
      run.reject(new ServiceError('inference_crashed', 'The inference process gave nonsense.', { cause: error }));
      throw error;
    }
  }

  function begin<Report extends { readonly memoryBytes: number }>(
    model: string,
    { frameOf, read: readReport }: RunForm<Report>,
    { stop, limitMs = options.timeoutMs, onProcess }: RunBounds = {},
  ): Promise<Report> {
    if (state !== 'idle') throw new Error(`the inference process is ${state}`);
    const position = positions.get(model);
    if (position === undefined) throw new Error(`the inference process has no model ${model}`);
    const id = ++runs;
    const frame = frameOf(id, position);
    state = 'busy';
    if (child.pid !== undefined) onProcess?.(child.pid);
    return new Promise((resolve, reject) => {
      const takeReport = (body: Buffer): number => {
        const report = readReport(body);
        resolve(report);
        return report.memoryBytes;
      };
      const onStop = (): void => stopRun(id, stop?.reason);
      const leave = (): void => stop?.removeEventListener('abort', onStop);
      current = { id, resolve: takeReport, reject, leave };
      stop?.addEventListener('abort', onStop);
      killAfter(limitMs);
      pipe.write(frame);
    });
  }

  function hear(frame: Frame): void {
    switch (frame.kind) {
      case FRAME.loading:
        loading = models[frame.id]?.key;
        return;
      case FRAME.warm:
        return isWarm(JSON.parse(frame.body.toString()) as WarmReport);
      case FRAME.unloadable: {
        const { model, reason } = JSON.parse(frame.body.toString()) as UnloadableReport;
        [loading, problem, said] = [model, reason, true];
        return endGently();
      }
      case FRAME.result:
      case FRAME.failed:
      case FRAME.refused:
      case FRAME.exhausted:
        if (current?.id === frame.id) hasAnswered(current, frame);
        return;
      default:
        throw new Error(`there is no frame of kind ${frame.kind}`);
    }
  }

  const read = createFrameReader(hear);
  pipe.on('data', (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      logger.error({ err: error, child: child.pid }, 'an inference process wrote nonsense and is killed');
      problem ??= 'the inference process wrote nonsense';
      child.kill('SIGKILL');
    }
  });
  pipe.on('error', (error) => {
    // The process is going or gone: its exit answers the run.
    logger.debug({ err: error, child: child.pid }, 'an inference process could not be told');
  });

  const { threads, provider, maxOutputBytes } = options;
  const order: LoadOrder = { models, threads, provider, maxOutputBytes };
  killAfter(loadTimeoutMs);
  pipe.write(textFrame(FRAME.load, 0, JSON.stringify(order)));

  return {
    get pid() {
      return child.pid;
    },
    get state() {
      return state;
    },
    get givenUp() {
      return givenUp;
    },
    get memoryBytes() {
      return (child.pid !== undefined && residentBytes(child.pid)) || memoryBytes;
    },
    get isTooLarge() {
      return memoryBytes > memoryLimitBytes;
    },
    get runs() {
      return runs;
    },
    get modelBytes() {
      return modelBytes;
    },
    warm: warming.promise,
    gone,
    has: (model) => positions.has(model),
    run: (key, sequences, bounds) =>
      begin(key, { frameOf: (id, model) => runFrame(id, { model, sequences }), read: readResult }, bounds),
    runTensors: (key, tensors, bounds) =>
      begin(key, { frameOf: (id, model) => tensorRunFrame(id, { model, tensors }), read: readTensorResult }, bounds),
    checkMemory() {
      if (state !== 'busy' || child.pid === undefined) return;
      const bytes = residentBytes(child.pid) ?? 0;
      if (bytes <= memoryLimitBytes) return;
      logger.error({ child: child.pid, bytes }, 'an inference process took too much memory and is killed');
      const limit = inMebibytes(memoryLimitBytes);
      kill(crashed(`The run took the inference process beyond the ${limit} of memory that it may use.`));
    },
    async retire() {
      givenUp = true;
      retired = true;
      if (state === 'warming') child.kill('SIGKILL');
      if (state === 'idle') endGently();
      await gone;
    },
    async stop() {
      givenUp = true;
      if (state === 'idle') endGently();
      else if (state !== 'ending' && state !== 'gone') child.kill('SIGKILL');
      await gone;
    },
  };
}

/** n.b. before it loads anything: threads have the niceness of the thread that started them. */
function beNice(pid: number | undefined, niceness: number, logger: Logger): void {
  try {
    if (pid !== undefined) setPriority(pid, niceness);
  } catch (error) {
    logger.warn({ err: error, child: pid }, 'the priority of an inference process cannot be changed');
  }
}

function failed(reason: string): ServiceError {
  return new ServiceError('inference_failed', 'The model could not process the input.', { cause: new Error(reason) });
}

function crashed(detail: string, cause?: string): ServiceError {
  return new ServiceError('inference_crashed', detail, { cause });
}

function unavailable(problem: string): ServiceError {
  return new ServiceError('model_unavailable', `The models could not be loaded: ${problem}`, { cause: problem });
}

function inMebibytes(bytes: number): string {
  return `${Math.round(bytes / MEBIBYTE)} MiB`;
}

/** Resolves with how the process ended, after everything it said was read. One that could not be started has ended. */
async function endOf(child: ChildProcess, pipe: Duplex): Promise<string> {
  const exit = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    child.on('error', (error) => {
      if (child.pid === undefined) resolve(error.message);
    });
  });
  // n.b. what `once` rejects with is the pipe's error, after which nothing more is read either.
  const silence = once(pipe, 'close').catch(() => undefined);
  const how = await exit;
  await silence;
  return how;
}

/** A promise that is settled from outside. Its rejection may go unseen. */
function deferred() {
  let resolve: () => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
