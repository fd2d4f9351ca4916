import type { Limit, LimitStatus } from './limits.js';

const COUNTS_PER_LIMIT = 5;

/** Reads the counts that `describe` of `lua/limit-state.lua` appends for each limit, in the order of the limits. */
export function readStatuses(limits: readonly Limit[], counts: readonly (string | number)[]): readonly LimitStatus[] {
  return limits.map(({ name, kind, max }, i) => {
    const [used, held, overage, remaining, resetsInMs] = counts
      .slice(i * COUNTS_PER_LIMIT, (i + 1) * COUNTS_PER_LIMIT)
      .map(Number);
    if (used === undefined || held === undefined || overage === undefined) throw new Error('a reply lacks counts');
    if (remaining === undefined || resetsInMs === undefined) throw new Error('a reply lacks counts');
    return { name, kind, max, used, held, overage, remaining, resetsInMs };
  });
}
