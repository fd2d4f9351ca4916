import { readFileSync } from 'node:fs';

/**
 * Resident memory of a process in bytes; undefined when it is gone, or where there is no `/proc`.
 * See `VmRSS` in proc_pid_status(5); `statm` is shorter, but counts in pages whose size Node does not tell.
 */
export function residentBytes(pid: number): number | undefined {
  return statusBytes(pid, /^VmRSS:\s+(\d+) kB$/m);
}

/** Resident memory of this process that it allocated itself, without pages of programs and libraries; all where there is no `/proc`. */
export function allocatedBytes(): number {
  return statusBytes('self', /^RssAnon:\s+(\d+) kB$/m) ?? process.memoryUsage.rss();
}

function statusBytes(pid: number | 'self', pattern: RegExp): number | undefined {
  try {
    const [, kibibytes] = pattern.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}
