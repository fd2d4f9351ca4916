import { readdirSync, readFileSync } from 'node:fs';

/** CPU time used so far by each role (all its processes and their children), in microseconds. */
export type CpuTimes = Readonly<Record<string, number>>;

/** Which process trees make up a role. */
export type Roles = Readonly<Record<string, readonly number[]>>;

/** One line of the process table. */
export interface ProcessEntry {
  readonly parentPid: number;
  /** User and system time, of itself and of the children it has reaped, in microseconds. */
  readonly cpuMicros: number;
}

/** Linux counts CPU time in ticks of 10 ms for every program (USER_HZ is 100 on all its architectures but Alpha). */
const MICROS_PER_TICK = 10_000;

/**
 * CPU times by role, from `/proc`; undefined where there is no such file system.
 *
 * n.b. times are multiples of 10 ms, so a share of a role is exact enough over seconds only.
 */
export function readCpuTimes(roles: Roles): CpuTimes | undefined {
  const table = readProcessTable();
  return table && sumByRole(table, roles);
}

/** What each role used between two readings, in microseconds. */
export function cpuBetween(before: CpuTimes, after: CpuTimes): CpuTimes {
  return Object.fromEntries(Object.entries(after).map(([role, micros]) => [role, micros - (before[role] ?? 0)]));
}

/** Adds each process to the role of its nearest ancestor (or itself) that is named in `roles`. */
export function sumByRole(table: ReadonlyMap<number, ProcessEntry>, roles: Roles): CpuTimes {
  const roleOf = new Map(Object.entries(roles).flatMap(([role, pids]) => pids.map((pid) => [pid, role] as const)));
  const sums: Record<string, number> = Object.fromEntries(Object.keys(roles).map((role) => [role, 0]));
  for (const [pid, { cpuMicros }] of table) {
    const role = findRole(pid, table, roleOf);
    if (role !== undefined) sums[role] = (sums[role] ?? 0) + cpuMicros;
  }
  return sums;
}

function findRole(
  pid: number,
  table: ReadonlyMap<number, ProcessEntry>,
  roleOf: ReadonlyMap<number, string>,
): string | undefined {
  for (let ancestor: number | undefined = pid; ancestor; ancestor = table.get(ancestor)?.parentPid) {
    const role = roleOf.get(ancestor);
    if (role !== undefined) return role;
  }
  return undefined;
}

function readProcessTable(): ReadonlyMap<number, ProcessEntry> | undefined {
  if (process.platform !== 'linux') return undefined;
  const table = new Map<number, ProcessEntry>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      table.set(Number(name), parseStat(readFileSync(`/proc/${name}/stat`, 'utf8')));
    } catch {
      // It ended since the folder was listed.
    }
  }
  return table;
}

/** CPU time that the whole machine spent so far, in microseconds; undefined where the system does not tell. */
export function readMachineMicros(): number | undefined {
  return process.platform === 'linux' ? parseMachineStat(readFileSync('/proc/stat', 'utf8')) : undefined;
}

/** Reads the first line of `/proc/stat`: all that is neither idle nor waiting, time stolen by a hypervisor included. */
export function parseMachineStat(text: string): number {
  const [, user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0, stolen = 0] = text
    .slice(0, text.indexOf('\n'))
    .split(/\s+/)
    .map(Number);
  return (user + nice + system + interrupts + softInterrupts + stolen) * MICROS_PER_TICK;
}

/** Reads a `/proc/<pid>/stat` line: proc_pid_stat(5). */
export function parseStat(line: string): ProcessEntry {
  // n.b. the name, field 2, is in parentheses and may itself hold spaces and parentheses.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  return { parentPid: field(4), cpuMicros: (field(14) + field(15) + field(16) + field(17)) * MICROS_PER_TICK };
}
