/** A job that waits. */
export interface WaitingJob {
  /** Seconds. */
  readonly at: number;
  readonly texts: number;
  readonly tokens: number;
}

/** Jobs of one class, first in, first out. Numbers in arrays: a simulation sends millions of jobs through it. */
export interface JobQueue {
  readonly size: number;
  /** Tokens of all that wait. */
  readonly tokens: number;
  add(job: WaitingJob): void;
  /** When the first one came; Infinity when none waits. */
  readonly firstAt: number;
  readonly firstTokens: number;
  /** @throws RangeError when none waits. */
  take(): WaitingJob;
}

const FIRST_CAPACITY = 1_024;

export function createJobQueue(): JobQueue {
  let capacity = FIRST_CAPACITY;
  let rows = new Float64Array(3 * capacity);
  let head = 0;
  let size = 0;
  let tokens = 0;

  function grow(): void {
    const larger = new Float64Array(6 * capacity);
    larger.set(rows.subarray(3 * head));
    larger.set(rows.subarray(0, 3 * head), 3 * (capacity - head));
    rows = larger;
    capacity *= 2;
    head = 0;
  }

  return {
    get size() {
      return size;
    },
    get tokens() {
      return tokens;
    },
    get firstAt() {
      return size === 0 ? Infinity : (rows[3 * head] ?? Infinity);
    },
    get firstTokens() {
      return size === 0 ? 0 : (rows[3 * head + 2] ?? 0);
    },
    add(job) {
      if (size === capacity) grow();
      const row = 3 * ((head + size) % capacity);
      rows[row] = job.at;
      rows[row + 1] = job.texts;
      rows[row + 2] = job.tokens;
      size += 1;
      tokens += job.tokens;
    },
    take() {
      if (size === 0) throw new RangeError('no job waits');
      const row = 3 * head;
      const job = { at: rows[row] ?? 0, texts: rows[row + 1] ?? 0, tokens: rows[row + 2] ?? 0 };
      head = (head + 1) % capacity;
      size -= 1;
      tokens -= job.tokens;
      return job;
    },
  };
}
