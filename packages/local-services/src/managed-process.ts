import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { endOnExit } from './exit-hook.js';
import {
  descendantsOf,
  identify,
  isAlive,
  type ProcessIdentity,
  sendSignal,
  suspend,
  waitUntilGone,
} from './process-table.js';

/** A user and group that a server runs as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface ProcessSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** Only root may set this. */
  readonly account?: Account | undefined;
  readonly logFile: string;
  /** Holds the process's identity while it runs, for the next start to clean up after a crash of ours. */
  readonly recordFile: string;
  /** Resolves true when the server answers its protocol, false when `signal` aborted first. */
  readonly ready: (signal: AbortSignal) => Promise<boolean>;
  readonly readyTimeoutMs: number;
  /** What makes the server end by itself with its data in order. */
  readonly stopSignal: NodeJS.Signals;
  /** What ends the server fast when its data no longer matter. */
  readonly discardSignal: 'SIGKILL' | 'SIGQUIT';
}

/** A server process of ours that can be started again after it was killed. */
export interface ManagedProcess {
  readonly pid: number | undefined;
  /** Resolves when the server answers. Throws with the end of its log when it ends or stays silent instead. */
  readonly start: () => Promise<void>;
  readonly kill: () => Promise<void>;
  readonly pause: () => void;
  readonly resume: () => void;
  /** Ends the server in good order; one that does not end within `timeoutMs` is killed. Safe when it does not run. */
  readonly stop: (timeoutMs: number) => Promise<void>;
  /** Ends the server as fast as can be without leaving anything outside its data directory. Safe when it does not run. */
  readonly discard: () => Promise<void>;
}

interface Running {
  readonly child: ChildProcess;
  readonly identity: ProcessIdentity;
  readonly exited: Promise<void>;
  readonly forget: () => void;
}

const GONE_TIMEOUT_MS = 10_000;
const LOG_TAIL_LINES = 15;

export function createManagedProcess(spec: ProcessSpec): ManagedProcess {
  let running: Running | undefined;
  let paused = false;

  async function start(): Promise<void> {
    if (running) throw new Error(`${spec.command} runs already`);
    const child = spawnServer(spec);
    const exited = new Promise<void>((resolve) => child.once('close', () => resolve())).then(() => {
      if (running?.child !== child) return;
      running.forget();
      running = undefined;
      rmSync(spec.recordFile, { force: true });
    });
    const pid = await spawned(child);
    const identity = identify(pid);
    if (!identity) throw new Error(`${spec.command} ended at once:\n${logTail(spec.logFile)}`);
    writeFileSync(spec.recordFile, JSON.stringify(identity));
    running = { child, identity, exited, forget: endOnExit(() => endTree(identity, spec.discardSignal)) };
    paused = false;
    await untilReady(exited);
  }

  async function untilReady(exited: Promise<void>): Promise<void> {
    const giveUp = new AbortController();
    const timer = setTimeout(() => giveUp.abort(), spec.readyTimeoutMs);
    try {
      const ready = spec.ready(giveUp.signal);
      const outcome = await Promise.race([ready, exited.then(() => 'exited' as const)]);
      if (outcome === true) return;
      const what =
        outcome === 'exited' ? 'ended before it answered' : `did not answer within ${spec.readyTimeoutMs} ms`;
      await kill();
      throw new Error(`${spec.command} ${what}:\n${logTail(spec.logFile)}`);
    } finally {
      clearTimeout(timer);
      giveUp.abort();
    }
  }

  async function kill(): Promise<void> {
    if (!running) return;
    const { identity } = running;
    const family = killTree(identity);
    if (!(await waitUntilGone(family, GONE_TIMEOUT_MS))) throw new Error(`process ${identity.pid} survives SIGKILL`);
    await finish();
  }

  async function end(signal: NodeJS.Signals, timeoutMs: number): Promise<void> {
    if (!running) return;
    if (signal === 'SIGKILL') return kill();
    if (paused) resume();
    const { identity } = running;
    const family = [identity, ...descendantsOf(identity.pid)];
    sendSignal(identity, signal);
    if (await waitUntilGone(family, timeoutMs)) await finish();
    else await kill();
  }

  /** Waits until the end of the process is known here too, which clears what `start` set up. */
  async function finish(): Promise<void> {
    if (!running) return;
    running.child.ref(); // while its end is awaited it must keep us alive
    await running.exited;
  }

  function pause(): void {
    if (!running) throw new Error(`${spec.command} does not run`);
    const { identity } = running;
    // The parent first: a stopped parent cannot fork a child that the list does not have yet.
    suspend(identity);
    descendantsOf(identity.pid).forEach(suspend);
    paused = true;
  }

  function resume(): void {
    if (!running) throw new Error(`${spec.command} does not run`);
    const { identity } = running;
    for (const member of [...descendantsOf(identity.pid), identity]) sendSignal(member, 'SIGCONT');
    paused = false;
  }

  return {
    get pid() {
      return running?.identity.pid;
    },
    start,
    kill,
    pause,
    resume,
    stop: (timeoutMs) => end(spec.stopSignal, timeoutMs),
    discard: () => end(spec.discardSignal, GONE_TIMEOUT_MS),
  };
}

/** Kills a process and all below it, and says whom. n.b. the children are listed while the parent still links them. */
export function killTree(root: ProcessIdentity): readonly ProcessIdentity[] {
  if (!isAlive(root)) return []; // its number may be another's by now, with children of its own
  suspend(root);
  const family = [root, ...descendantsOf(root.pid)];
  for (const member of family) sendSignal(member, 'SIGKILL');
  return family;
}

/** Without waiting: kills all, or asks the root to end itself and all below it. */
export function endTree(root: ProcessIdentity, signal: ProcessSpec['discardSignal']): readonly ProcessIdentity[] {
  if (signal === 'SIGKILL') return killTree(root);
  if (!isAlive(root)) return [];
  const family = [root, ...descendantsOf(root.pid)];
  for (const member of family) sendSignal(member, 'SIGCONT');
  sendSignal(root, signal);
  return family;
}

function spawnServer(spec: ProcessSpec): ChildProcess {
  const log = openSync(spec.logFile, 'a');
  try {
    return spawn(spec.command, spec.args, {
      cwd: spec.workingDirectory,
      env: { ...cleanEnvironment(), ...spec.environment },
      stdio: ['ignore', log, log],
      detached: true, // its own session: a Ctrl-C in the terminal reaches us, and we end the servers in order
      ...spec.account,
    });
  } finally {
    closeSync(log);
  }
}

function spawned(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      child.unref(); // a server alone does not keep this process alive
      resolve(child.pid ?? -1);
    });
  });
}

/** The caller's environment without what would reconfigure the servers. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(RABBITMQ_|ERL_|PG|REDIS|SLUICE_|NODE_OPTIONS$|NOTIFY_SOCKET$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

function logTail(path: string): string {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines.slice(-LOG_TAIL_LINES).join('\n');
}
