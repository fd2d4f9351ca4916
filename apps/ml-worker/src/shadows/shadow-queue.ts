import type { ShadowedJob } from './shadows.js';

export interface QueueBounds {
  readonly jobs: number;
  /** Of token ids and rows together. */
  readonly bytes: number;
}

/** The text that is to be compared next. */
export interface NextText {
  readonly job: ShadowedJob;
  /** Its position among the texts of the job. */
  readonly index: number;
}

/** Jobs that wait to be compared with one version, oldest first. */
export interface ShadowQueue {
  /** Jobs of which a text waits. */
  readonly length: number;
  /** Takes a copy of the job, or drops it when it does not fit. */
  add(job: ShadowedJob): void;
  /** Takes out the next text; undefined when there is none. */
  next(): NextText | undefined;
  /** Drops these. */
  drop(isDropped: (job: ShadowedJob) => boolean): void;
  /** Changes the bounds, and drops the newest jobs while they do not fit. */
  bound(bounds: QueueBounds): void;
}

/** @param onDropped hears of jobs that are dropped, and how many of their texts were still waiting. */
export function createShadowQueue(onDropped: (job: ShadowedJob, texts: number) => void): ShadowQueue {
  let waiting: Waiting[] = [];
  let bytes = 0;
  let bounds: QueueBounds = { jobs: Infinity, bytes: Infinity };

  function dropped(gone: Waiting): void {
    bytes -= gone.bytes;
    onDropped(gone.job, gone.job.sequences.length - gone.next);
  }

  return {
    get length() {
      return waiting.length;
    },
    add(job) {
      const size = bytesOf(job);
      if (waiting.length >= bounds.jobs || bytes + size > bounds.bytes) return onDropped(job, job.sequences.length);
      // n.b. rows are a view into what a whole batch came to.
      const sequences = job.sequences.map((sequence) => sequence.slice());
      waiting.push({ job: { ...job, sequences, rows: job.rows.slice() }, bytes: size, next: 0 });
      bytes += size;
    },
    next() {
      const [first] = waiting;
      if (!first) return undefined;
      const { job, next: index } = first;
      first.next += 1;
      if (first.next === job.sequences.length) {
        waiting.shift();
        bytes -= first.bytes;
      }
      return { job, index };
    },
    drop(isDropped) {
      const gone = waiting.filter(({ job }) => isDropped(job));
      waiting = waiting.filter(({ job }) => !isDropped(job));
      gone.forEach(dropped);
    },
    bound(to) {
      bounds = to;
      while (waiting.length > bounds.jobs || bytes > bounds.bytes) dropped(waiting.pop() as Waiting);
    },
  };
}

interface Waiting {
  readonly job: ShadowedJob;
  readonly bytes: number;
  /** Position of the next text. */
  next: number;
}

function bytesOf({ sequences, rows }: ShadowedJob): number {
  return sequences.reduce((sum, { byteLength }) => sum + byteLength, rows.byteLength);
}
