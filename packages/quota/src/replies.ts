import type { Limit, LimitStatus } from './limits.js';
import type { ScriptReply } from './scripts.js';

const COUNTS_PER_LIMIT = 5;

/** Reads the counts that `describe` of `lua/limit-state.lua` appends for each limit, from the element `first` on. */
export function readStatuses(limits: readonly Limit[], reply: ScriptReply, first: number): readonly LimitStatus[] {
  return limits.map(({ name, kind, max }, i) => {
    const at = first + i * COUNTS_PER_LIMIT;
    return {
      name,
      kind,
      max,
      used: Number(reply[at]),
      held: Number(reply[at + 1]),
      overage: Number(reply[at + 2]),
      remaining: Number(reply[at + 3]),
      resetsInMs: Number(reply[at + 4]),
    };
  });
}
