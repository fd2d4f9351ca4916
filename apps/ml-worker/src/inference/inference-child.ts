import { fork, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { ServiceError } from '@sluice/contracts';
import { delay, type Logger } from '@sluice/runtime';
import type { FromInferenceProcess, KeyedModel, RunResult, ToInferenceProcess } from './inference-protocol.js';

/** How long loading and warming all models may take. */
const WARM_UP_TIMEOUT_MS = 120_000;
/** How long a process that was told to end may take. */
const END_TIMEOUT_MS = 5_000;
const LONGEST_LINE = 500;

export interface InferenceChildOptions {
  /** Path of the built inference-process module. */
  readonly modulePath: string;
  readonly models: readonly KeyedModel[];
  /** Environment of the process; it needs no secrets and should get none. */
  readonly environment: Readonly<NodeJS.ProcessEnv>;
  /** A run that takes longer is ended together with its process. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

/**
 * One inference process.
 *
 * ```
 * warming ──▶ idle ──run▶ busy ──(result, failed)▶ idle
 *    └──────────┴───────────┴──(exit, killed)──▶ gone
 * ```
 */
export interface InferenceChild {
  readonly pid: number | undefined;
  readonly state: 'warming' | 'idle' | 'busy' | 'gone';
  /** Resolves when runs may begin. Rejects with `model_unavailable` when the process ends first. */
  readonly warm: Promise<void>;
  /** The process was killed because its run was not wanted any more. */
  readonly stopped: boolean;
  /** Resolves when the process is gone. Never rejects. */
  readonly gone: Promise<void>;
  /**
   * Runs texts of one model; only while idle. When `stop` aborts before the end, the process is killed and the reason
   * of the abort is thrown.
   *
   * @throws ServiceError `inference_failed` (the process works on), `inference_crashed` or `inference_timeout` (the
   *   process is gone).
   */
  run(model: string, sequences: readonly Int32Array[], stop?: AbortSignal): Promise<RunResult>;
  /** Ends the process: by itself when it is idle, else by SIGKILL. Resolves when it is gone. */
  stop(): Promise<void>;
}

interface Run {
  readonly id: number;
  readonly resolve: (result: RunResult) => void;
  readonly reject: (error: unknown) => void;
  readonly stop: AbortSignal | undefined;
}

/** Starts a process and lets it load the models. */
export function startInferenceChild(options: InferenceChildOptions): InferenceChild {
  const { logger } = options;
  const child = fork(options.modulePath, {
    serialization: 'advanced',
    execArgv: [],
    env: { ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  for (const stream of [child.stdout, child.stderr]) if (stream) logLines(stream, child.pid, logger);
  let state: InferenceChild['state'] = 'warming';
  let current: Run | undefined;
  let runs = 0;
  let problem: string | undefined;
  let timedOut = false;
  let stopped = false;
  let deadline: NodeJS.Timeout | undefined;
  const warming = deferred();
  const gone = endOf(child).then((how) => {
    state = 'gone';
    problem ??= `the inference process ended: ${how}`;
    warming.reject(new ServiceError('model_unavailable', 'The models could not be loaded.', { cause: problem }));
    const run = finish();
    run?.reject(lossOf(run));
  });

  function lossOf({ stop }: Run): unknown {
    if (stopped) return stop?.reason;
    return timedOut
      ? new ServiceError('inference_timeout', `Inference took longer than ${options.timeoutMs} ms.`)
      : new ServiceError('inference_crashed', 'The inference process ended during the run.', { cause: problem });
  }

  /** Takes the run that is under way, so that it is answered once. */
  function finish(): Run | undefined {
    clearTimeout(deadline);
    const run = current;
    current = undefined;
    return run;
  }

  function killAfter(timeoutMs: number): void {
    deadline = setTimeout(() => {
      timedOut = true;
      logger.error({ child: child.pid, timeoutMs, state }, 'an inference process overran its time and is killed');
      child.kill('SIGKILL');
    }, timeoutMs);
  }

  /** A run blocks its process: nothing gentler than the end of the process can stop it. */
  function stopRun(id: number): void {
    if (current?.id !== id) return;
    stopped = true;
    child.kill('SIGKILL');
  }

  function send(message: ToInferenceProcess): void {
    child.send(message, (error) => {
      // The process is going or gone: its exit answers the run.
      if (error) logger.debug({ err: error, child: child.pid }, 'an inference process could not be told');
    });
  }

  child.on('message', (message: FromInferenceProcess) => {
    if (state === 'gone') return;
    switch (message.type) {
      case 'warm':
        clearTimeout(deadline);
        state = 'idle';
        warming.resolve();
        return;
      case 'unloadable':
        problem = `${message.model}: ${message.reason}`;
        return;
      case 'result':
      case 'failed': {
        if (current?.id !== message.id) return;
        const run = finish();
        // n.b. the answer may have crossed with the kill: then the process takes no other run.
        if (!timedOut && !stopped) state = 'idle';
        if (message.type === 'result') run?.resolve({ rows: message.rows, computeMs: message.computeMs });
        else run?.reject(refusal(message.reason));
        return;
      }
    }
  });

  killAfter(WARM_UP_TIMEOUT_MS);
  send({ type: 'load', models: options.models });

  return {
    get pid() {
      return child.pid;
    },
    get state() {
      return state;
    },
    get stopped() {
      return stopped;
    },
    warm: warming.promise,
    gone,
    run(model, sequences, stop) {
      if (state !== 'idle') throw new Error(`the inference process is ${state}`);
      state = 'busy';
      const id = ++runs;
      return new Promise((resolve, reject) => {
        current = { id, resolve, reject, stop };
        stop?.addEventListener('abort', () => stopRun(id), { once: true });
        killAfter(options.timeoutMs);
        send({ type: 'run', id, model, sequences });
      });
    },
    async stop() {
      if (state === 'gone') return;
      if (state === 'idle') child.disconnect();
      else child.kill('SIGKILL');
      const abort = new AbortController();
      await Promise.race([gone, delay(END_TIMEOUT_MS, abort.signal).then(() => child.kill('SIGKILL'))]);
      abort.abort();
      await gone;
    },
  };
}

function refusal(reason: string): ServiceError {
  return new ServiceError('inference_failed', 'The model could not process the input.', { cause: reason });
}

/** Resolves with how the process ended, after everything it said was read. One that could not be started has ended. */
async function endOf(child: ChildProcess): Promise<string> {
  const exit = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    child.on('error', (error) => {
      if (child.pid === undefined) resolve(error.message);
    });
  });
  const silence = new Promise<void>((resolve) => {
    if (child.connected) child.once('disconnect', resolve);
    else resolve();
  });
  await silence;
  return exit;
}

/** ONNX Runtime writes its own words to stderr; they become lines of the worker's log. */
function logLines(stream: Readable, pid: number | undefined, logger: Logger): void {
  createInterface(stream).on('line', (line) => {
    logger.warn({ child: pid, line: line.slice(0, LONGEST_LINE) }, 'an inference process wrote');
  });
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
