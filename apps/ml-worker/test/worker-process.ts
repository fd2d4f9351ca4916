import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { delay } from '@sluice/runtime';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** What `/health` of a worker shows. */
export interface Health {
  readonly ok: boolean;
  readonly live: boolean;
  readonly detail: {
    readonly models: readonly {
      readonly name: string;
      readonly version: string;
      readonly canary?: { readonly version: string };
      /** By version. */
      readonly memoryBytes: Readonly<Record<string, number | null>>;
    }[];
    readonly modelFiles: {
      readonly state: 'served' | 'changing';
      readonly problems: readonly string[];
      /** Reasons by the version's key. */
      readonly unloadable: Readonly<Record<string, string>>;
    };
    readonly shadows: readonly {
      readonly model: string;
      readonly version: string;
      readonly shadow: string;
      readonly state: 'loading' | 'ready' | 'unloadable';
      readonly reason?: string;
      readonly pids: readonly number[];
      readonly waitingJobs: number;
      readonly agreed: number;
      readonly disagreed: number;
      readonly failed: number;
      readonly dropped: number;
      readonly cosine?: { readonly least: number; readonly mean: number };
      readonly greatestDifference?: number;
    }[];
    readonly jobsInHand: number;
    readonly waitingTexts: number;
    readonly batching: Readonly<Record<string, { readonly bestTokens?: number; readonly correction: number }>>;
    readonly cancelRequests: number;
    /** What time the worker takes it to be where deadlines are concerned; 0 when nobody has told it. */
    readonly jobTimeMs: number;
    readonly inferenceProcesses: {
      readonly wanted: number;
      readonly threads: number;
      readonly warm: number;
      readonly idle: number;
      readonly pids: readonly number[];
      readonly memoryBytes: { readonly processes: Readonly<Record<string, number>> };
    };
  };
}

/** The built program, as it runs in production. */
export interface WorkerProcess {
  readonly pid: number;
  health(): Promise<Health>;
  /** Resolves when what `/health` shows meets the condition; the test's time limit bounds the wait. */
  until(condition: (detail: Health['detail']) => boolean): Promise<void>;
  /** The sample of `/metrics` with this name and these labels, as they are written there. */
  metric(name: string): Promise<number>;
  /** What the program itself holds in memory, after garbage was collected. */
  heapBytes(): Promise<number>;
  /** Ids of its child processes, however they are known to it. */
  children(): readonly number[];
  /** How many files and pipes it has open. */
  openFiles(): number;
  /** Status of an ops path. */
  status(path: string): Promise<number>;
  /** Sends a signal; resolves with the exit code or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | string>;
}

/** What a worker runs on. */
export interface Machine {
  /** How far its clock is ahead of the true time; 0 when absent. */
  readonly clockAheadMs?: number;
}

/** Starts a worker and waits until it is ready; rejects when it ends before that. */
export async function startWorkerProcess(
  environment: Readonly<Record<string, string | undefined>>,
  { clockAheadMs = 0 }: Machine = {},
): Promise<WorkerProcess> {
  const child = fork(MAIN, {
    execArgv: ['--expose-gc', '--import', wrongClock(clockAheadMs), '--import', HEAP_TELLER],
    env: { PATH: process.env['PATH'], SLUICE_OPS_PORT: '0', SLUICE_LOG_LEVEL: 'silent', ...environment },
  });
  const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
  const ready = once(child, 'message').then(([message]) => (message as { opsPort: number }).opsPort);
  const port = await Promise.race([ready, exited.then(() => undefined)]);
  if (port === undefined) throw new Error(`the worker ended: ${await exited}`);
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
  const health = async () => (await (await get('/health')).json()) as Health;
  return {
    pid: child.pid ?? 0,
    health,
    async until(condition) {
      while (!condition((await health()).detail)) await delay(10);
    },
    async metric(name) {
      const lines = (await (await get('/metrics')).text()).split('\n');
      return Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length));
    },
    async heapBytes() {
      const told = once(child, 'message').then(([message]) => (message as { heapBytes: number }).heapBytes);
      child.send('heap');
      return told;
    },
    children() {
      const { pid } = child;
      const lists = readdirSync(`/proc/${pid}/task`).map((thread) =>
        readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim(),
      );
      return lists.flatMap((list) => (list === '' ? [] : list.split(' ').map(Number)));
    },
    openFiles: () => readdirSync(`/proc/${child.pid}/fd`).length,
    status: async (path) => (await get(path)).status,
    async end(signal) {
      child.kill(signal);
      return exited;
    },
  };
}

/** A module that tells what its process holds in memory whenever it is asked to. */
const HEAP_TELLER = `data:text/javascript,${encodeURIComponent(`
  process.on('message', () => {
    for (let round = 0; round < 3; round += 1) globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    process.send({ heapBytes: heapUsed + external });
  });
  process.channel.unref();`)}`;

/** A module that sets the clock of its process, before anything else of it is loaded. */
function wrongClock(aheadMs: number): string {
  const code = `
    const True = Date;
    const now = () => True.now() + ${aheadMs};
    globalThis.Date = class extends True {
      constructor(...values) { super(...(values.length === 0 ? [now()] : values)); }
      static now() { return now(); }
    };`;
  return `data:text/javascript,${encodeURIComponent(code)}`;
}

/** Whether a process exists and is not merely waiting to be collected. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !/\) [ZX] /.test(readFileSync(stat, 'utf8'));
}
