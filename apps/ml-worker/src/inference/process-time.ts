import { readFileSync } from 'node:fs';

/** Clock ticks in a second: USER_HZ, which is 100 on every architecture that Node supports on Linux. */
const TICKS_PER_SECOND = 100;

/**
 * Time that a process has had the processor for, all threads together, in milliseconds; undefined when it is gone, or where there
 * is no `/proc`. See `utime` and `stime` in proc_pid_stat(5).
 */
export function processorMs(pid: number): number | undefined {
  try {
    // n.b. the second field is the name of the program in parentheses, which may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
  } catch {
    return undefined;
  }
}
