import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that cannot be mistaken for a later one that got the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque: equal for the same process, different for another one, also after a reboot. */
  readonly startedAt: string;
}

interface ProcessEntry extends ProcessIdentity {
  readonly parent: number;
  readonly program: string;
  /** One letter: T is stopped, Z has ended. */
  readonly state: string;
}

const POLL_MS = 5;
const STOP_TIMEOUT_MS = 1_000;

/** What identifies the process `pid` now; undefined when there is none, or only its exit status is left. */
export function identify(pid: number): ProcessIdentity | undefined {
  const entry = lookUp(pid);
  return entry && { pid, startedAt: entry.startedAt };
}

function lookUp(pid: number): ProcessEntry | undefined {
  return process.platform === 'linux' ? fromProc(pid) : fromPs(['-p', String(pid)])[0];
}

export function isAlive({ pid, startedAt }: ProcessIdentity): boolean {
  return identify(pid)?.startedAt === startedAt;
}

/** The children of `pid`, their children and so on. */
export function descendantsOf(pid: number): readonly ProcessIdentity[] {
  const all = listProcesses();
  const found: ProcessEntry[] = [];
  for (let parents = new Set([pid]); parents.size > 0;) {
    const children = all.filter(({ parent }) => parents.has(parent));
    found.push(...children);
    parents = new Set(children.map((child) => child.pid));
  }
  return found;
}

/**
 * Processes whose working directory lies in `directory` and whose program is one of `programs`. Linux only, empty
 * elsewhere; a process of another user is seen only by root.
 */
export function processesIn(directory: string, programs: ReadonlySet<string>): readonly ProcessIdentity[] {
  if (process.platform !== 'linux') return [];
  return listProcesses().filter(
    ({ pid, program }) => programs.has(program) && isWithin(workingDirectory(pid), directory),
  );
}

/** Sends a signal if the process is still the one meant; false when it is gone. */
export function sendSignal(target: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(target)) return false;
  try {
    return process.kill(target.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Stops a process (SIGSTOP). n.b. the signal takes effect a moment after it was sent; this waits for that. */
export function suspend(target: ProcessIdentity): void {
  if (!sendSignal(target, 'SIGSTOP')) return;
  const endsAtMs = performance.now() + STOP_TIMEOUT_MS;
  while (lookUp(target.pid)?.state !== 'T' && isAlive(target) && performance.now() < endsAtMs) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
}

/** Waits until none of `targets` is left; false when some outlive `timeoutMs`. */
export async function waitUntilGone(targets: readonly ProcessIdentity[], timeoutMs: number): Promise<boolean> {
  const endsAtMs = performance.now() + timeoutMs;
  while (targets.some(isAlive)) {
    if (performance.now() > endsAtMs) return false;
    await sleep(POLL_MS);
  }
  return true;
}

function listProcesses(): readonly ProcessEntry[] {
  if (process.platform !== 'linux') return fromPs(['-ax']);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => fromProc(Number(name)))
    .filter((entry) => entry !== undefined);
}

/** proc(5): `pid (program) state ppid …`, start time in clock ticks since boot as field 22. */
function fromProc(pid: number): ProcessEntry | undefined {
  const stat = readIfPresent(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  const end = stat.lastIndexOf(')'); // n.b. the program's name may itself hold spaces and parentheses
  const fields = stat.slice(end + 2).split(' ');
  const [state = '', parent] = fields;
  if (state === 'Z' || state === 'X') return undefined;
  return {
    pid,
    state,
    program: stat.slice(stat.indexOf('(') + 1, end),
    parent: Number(parent),
    startedAt: `${bootId()}/${fields[19]}`,
  };
}

let cachedBootId: string | undefined;
function bootId(): string {
  return (cachedBootId ??= readIfPresent('/proc/sys/kernel/random/boot_id')?.trim() ?? 'boot');
}

function fromPs(selection: readonly string[]): readonly ProcessEntry[] {
  let table: string;
  try {
    table = execFileSync('ps', [...selection, '-o', 'pid=,ppid=,stat=,lstart=,comm='], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    });
  } catch {
    return []; // ps exits with 1 when nothing matches
  }
  return table.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\w+\s+\w+\s+\d+\s+[\d:]+\s+\d+)\s+(.*)$/.exec(line);
    if (!match || match[3]?.startsWith('Z')) return [];
    const program = (match[5] ?? '').split('/').at(-1) ?? '';
    const state = match[3]?.[0] ?? '';
    return [{ pid: Number(match[1]), parent: Number(match[2]), state, startedAt: match[4] ?? '', program }];
  });
}

function workingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

function isWithin(path: string | undefined, directory: string): boolean {
  return path !== undefined && (path === directory || path.startsWith(`${directory}/`));
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
