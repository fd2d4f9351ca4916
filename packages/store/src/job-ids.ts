/** 48 bits. */
const MAX_JOB_TIME_MS = 2 ** 48 - 1;

/** Greater than every job id. The database's uuid sorts as its text in lower case does. */
export const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/** The smallest UUID with this time (Unix milliseconds) or a later one in its first 48 bits. */
export function firstIdAt(timeMs: number): string {
  const time = Math.min(Math.max(Math.ceil(timeMs), 0), MAX_JOB_TIME_MS);
  const hex = time.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** What is asked of a list's jobs: when they were accepted (Unix milliseconds, to exclusive), and before which one. */
export interface JobIdRange {
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  readonly beforeJobId?: string | undefined;
}

/** The bounds of the ids of these jobs, inclusive and exclusive. */
export function idRangeOf({ fromMs = 0, toMs, beforeJobId = LAST_ID }: JobIdRange): readonly [string, string] {
  const toId = toMs === undefined ? LAST_ID : firstIdAt(toMs);
  return [firstIdAt(fromMs), beforeJobId < toId ? beforeJobId : toId];
}
