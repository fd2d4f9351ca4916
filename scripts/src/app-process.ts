import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { lastError } from './last-error.js';
import { appEntry } from './paths.js';

export const APPS = ['api-gateway', 'ml-worker', 'results-collector'] as const;
export type AppName = (typeof APPS)[number];

export interface AppProcessOptions {
  readonly app: AppName;
  /** For people: `api-gateway-1`. */
  readonly name: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Where its JSON lines go. */
  readonly logFile: string;
}

export interface AppProcess {
  readonly app: AppName;
  readonly name: string;
  readonly logFile: string;
  readonly pid: number;
  /** Where it serves tenants over HTTP, if it does. */
  readonly port: number | undefined;
  /** Where it serves probes and metrics, if it does. */
  readonly opsPort: number | undefined;
  /** Exit code of the present process; null while it runs or when a signal ended it. */
  readonly exitCode: number | null;
  /** Resolves when the present process is gone, for whatever reason. */
  readonly exited: Promise<void>;
  /** SIGTERM; resolves with the exit code when it is gone. */
  stop(): Promise<number | null>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Sends a signal to the present process, such as SIGSTOP; false when that has ended. */
  signal(signal: NodeJS.Signals): boolean;
  /** Starts it again after it ended, on the same port for tenants. */
  restart(): Promise<void>;
}

const READY_TIMEOUT_MS = 60_000;

interface ReadyMessage {
  readonly type: 'ready';
  readonly port?: number;
  readonly opsPort?: number;
}

/** Starts one app as its own process and waits until it says that it works. */
export async function startApp(options: AppProcessOptions): Promise<AppProcess> {
  let { child, logStart } = launch(options, options.environment);
  let ready = await whenReady(child, options, logStart);
  let exited = once(child, 'exit').then(() => undefined);

  async function end(signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await exited;
    }
    return child.exitCode;
  }

  return {
    app: options.app,
    name: options.name,
    logFile: options.logFile,
    get pid() {
      return child.pid ?? 0;
    },
    get port() {
      return ready.port;
    },
    get opsPort() {
      return ready.opsPort;
    },
    get exitCode() {
      return child.exitCode;
    },
    get exited() {
      return exited;
    },
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
    signal: (signal) => child.kill(signal),
    async restart() {
      const port = ready.port === undefined ? {} : { SLUICE_PORT: String(ready.port) };
      ({ child, logStart } = launch(options, { ...options.environment, ...port }));
      exited = once(child, 'exit').then(() => undefined);
      ready = await whenReady(child, options, logStart);
    },
  };
}

interface Launched {
  readonly child: ChildProcess;
  /** Where its lines begin in the log file, in bytes. */
  readonly logStart: number;
}

function launch({ app, logFile }: AppProcessOptions, environment: NodeJS.ProcessEnv): Launched {
  const log = openSync(logFile, 'a');
  const logStart = fstatSync(log).size;
  // n.b. detached: Ctrl-C in a terminal reaches the whole process group, and a second signal would force an app to end
  // with work in flight. Only the parent gets it and then tells each app. An app whose parent dies drains by itself.
  const child = fork(appEntry(app), { env: environment, stdio: ['ignore', log, log, 'ipc'], detached: true });
  closeSync(log);
  return { child, logStart };
}

function whenReady(child: ChildProcess, options: AppProcessOptions, logStart: number): Promise<ReadyMessage> {
  const { name, logFile } = options;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(`was not ready within ${READY_TIMEOUT_MS / 1000} s`), READY_TIMEOUT_MS);
    const onExit = (code: number | null, signal: string | null): void =>
      fail(`ended before it was ready (${signal ?? `exit code ${code}`})`);
    function fail(what: string): void {
      clearTimeout(timer);
      child.off('exit', onExit);
      child.kill('SIGKILL');
      const reason = lastError(readFileSync(logFile).subarray(logStart).toString());
      reject(new Error(`${name} ${what}${reason === undefined ? '' : `: ${reason}`}\nIts log: ${logFile}`));
    }
    child.once('exit', onExit);
    child.on('message', (message: ReadyMessage) => {
      if (message.type !== 'ready') return;
      clearTimeout(timer);
      child.off('exit', onExit);
      resolve(message);
    });
  });
}
