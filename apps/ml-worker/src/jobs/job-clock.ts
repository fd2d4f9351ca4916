/**
 * The time that deadlines are told by, which is that of Redis, as far as it is known here. Never ahead of it beyond what
 * `heard` and `accepted` promise, whatever this machine's clock shows; behind by as long as news took at least.
 */
export interface JobClock {
  /** Unix milliseconds, 0 until something was heard: no deadline has passed for all that is known. */
  now(): number;
  /** Redis showed this time, at some moment before now (Unix milliseconds). */
  heard(redisNowMs: number): void;
  /**
   * A job was accepted at this time by the clock of Redis as its gateway knew it, at some moment before now. Counts only
   * while no notices come.
   */
  accepted(acceptedAtMs: number): void;
}

/** What was heard counts for one to two of these, then newer news replaces it: five notices at their usual pace. */
const GENERATION_MS = 10_000;

/**
 * News is late, never early: so of all that was heard the one that tells the latest time is nearest to the truth, and this
 * clock goes on from there by the monotonic clock of the process. Only the latest notices count, because Redis may be
 * replaced by one whose clock shows less. Without notices for ten seconds what is known stays, and jobs that come out of their
 * queue soon still tell the time almost exactly; those that waited for long say little, and change nothing.
 */
export function createJobClock(monotonicMs: () => number = () => performance.now()): JobClock {
  /** Redis' time minus the monotonic clock, at least: by this generation of notices, and by the one before. */
  let current = -Infinity;
  let earlier = -Infinity;
  let generationEndsMs = -Infinity;
  let heardAtMs = -Infinity;

  return {
    now: () => Math.max(0, Math.floor(monotonicMs() + Math.max(current, earlier))),
    heard(redisNowMs) {
      const nowMs = monotonicMs();
      heardAtMs = nowMs;
      if (nowMs >= generationEndsMs) {
        earlier = current;
        current = -Infinity;
        generationEndsMs = nowMs + GENERATION_MS;
      }
      current = Math.max(current, redisNowMs - nowMs);
    },
    accepted(acceptedAtMs) {
      const nowMs = monotonicMs();
      // n.b. a job of before Redis' clock was set back tells a time that is no more, as often as one is delivered.
      if (nowMs - heardAtMs < GENERATION_MS) return;
      current = Math.max(current, acceptedAtMs - nowMs);
    },
  };
}
