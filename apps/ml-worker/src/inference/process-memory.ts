import { readFileSync } from 'node:fs';

/**
 * Resident memory of a process in bytes; undefined when it is gone, or where there is no `/proc`.
 * See `VmRSS` in proc_pid_status(5); `statm` is shorter, but counts in pages whose size Node does not tell.
 */
export function residentBytes(pid: number): number | undefined {
  try {
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}
