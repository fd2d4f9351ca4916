import { randomBytes, randomUUID } from 'node:crypto';

/** The time of jobs: Redis' clock as this process knows it, so that a gateway whose own clock is wrong does no harm. */
export interface JobClock {
  /** Unix milliseconds. */
  now(): number;
  /** Mints a UUIDv7 of the present; ids of one process sort in the order in which they were minted. */
  newJobId(): string;
  /** Takes over a time that Redis named in the answer to a request that was sent at `sentAtMs` of `performance.now()`. */
  observe(redisNowMs: number, sentAtMs: number): void;
}

/** Share of a new observation in the offset: answers wait for the event loop, so a single one may be late. */
const WEIGHT = 1 / 8;
/** A difference above this is another clock rather than a late answer, and is taken over at once. */
const STEP_MS = 1_000;
/** Answers that took longer tell too little to be counted; half of it stays far below a step. */
const LATE_MS = 500;
/** Ids of one millisecond are told apart by 12 bits; the first begins in the lower half, so that there is room. */
const MAX_SEQUENCE = 0xfff;

/**
 * Before the first observation it shows the machine's time. After it the machine's clock may be set to anything: only
 * the monotonic clock of the process counts.
 */
export function createJobClock(monotonicMs: () => number = () => performance.now()): JobClock {
  let offsetMs = Date.now() - monotonicMs();
  let observed = false;
  let lastMs = 0;
  let sequence = 0;

  function now(): number {
    return Math.floor(monotonicMs() + offsetMs);
  }

  /** Never earlier than the id before, and a millisecond later when that one's millisecond is full. */
  function advance(): void {
    const nowMs = now();
    if (nowMs > lastMs) {
      lastMs = nowMs;
      sequence = randomBytes(2).readUInt16BE() & (MAX_SEQUENCE >> 1);
    } else if (sequence === MAX_SEQUENCE) {
      lastMs += 1;
      sequence = 0;
    } else {
      sequence += 1;
    }
  }

  return {
    now,
    newJobId() {
      advance();
      const time = lastMs.toString(16).padStart(12, '0');
      // RFC 9562 §5.7, §6.2 method 1: a counter in rand_a; the variant and 62 random bits are those of a UUIDv4.
      const counter = sequence.toString(16).padStart(3, '0');
      return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}${randomUUID().slice(18)}`;
    },
    observe(redisNowMs, sentAtMs) {
      // A process that was paused, or very busy, cannot tell when within that time Redis answered.
      const isLate = monotonicMs() - sentAtMs > LATE_MS;
      if (observed && isLate) return;
      // The first time of all is better than none: late it may be, but not early. The next one corrects it.
      const sample = redisNowMs - (isLate ? monotonicMs() : (sentAtMs + monotonicMs()) / 2);
      const isStep = !observed || Math.abs(sample - offsetMs) > STEP_MS;
      // n.b. a step back gives up the order of ids this once; waiting for the old time to come again could take hours.
      if (isStep && sample < offsetMs) lastMs = 0;
      offsetMs = isStep ? sample : offsetMs + (sample - offsetMs) * WEIGHT;
      observed = !isLate;
    },
  };
}
