/** How long a ticket and what was staged with it are valid, in milliseconds. */
export const TICKET_TTL_MS = 600_000;
/** How long a load counts as alive after a sign of it, in milliseconds. */
export const ALIVE_MS = 2_000;
/** Idempotency keys that a load sets in one pipeline. */
export const KEYS_PER_PIPELINE = 1_000;
/** Settlements that a load takes note of at most, so that its last step stays short; with more it begins anew. */
export const MOST_NOTES = 20_000;
/** How long the terminal state of a job can be read at least, in milliseconds, where nobody says otherwise. */
export const SNAPSHOT_TTL_MS = 3_600_000;
/** By how many milliseconds snapshots outlive the idempotency key that leads to them. */
export const SNAPSHOT_MARGIN_MS = 60_000;
/** Times that a reserve is sent: again after its key was freed, which another may take before. */
export const MOST_ATTEMPTS = 3;
/** Tenants of a page, about. */
export const PAGE = 100;
/** By how many milliseconds clocks are set right now and then; as in `lua/scope-state.lua`. */
export const CLOCK_STEP_MS = 2_000;
