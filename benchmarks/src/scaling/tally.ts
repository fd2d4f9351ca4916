import { JOB_CLASSES, type JobClass } from '@sluice/contracts';
import type { Fleet } from './fleet.js';
import { createWaitHistogram, type WaitHistogram } from './wait-histogram.js';
import type { Workload } from './workload.js';

/** How long jobs of a class waited until they began, in seconds. */
export interface ClassWaits {
  readonly jobs: number;
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** Share that waited for longer than the class should, 0 … 1. */
  readonly late: number;
}

/** A part of the time, for a picture. */
export interface Slice {
  /** When it begins, in seconds. */
  readonly at: number;
  readonly jobsPerSecond: number;
  /** Pods that are ready, and pods that there should be, at most. */
  readonly ready: number;
  readonly wanted: number;
  /** Of interactive jobs that began in it. */
  readonly p95: number;
}

/** What came of a simulation. */
export interface Outcome {
  readonly jobs: number;
  readonly tokens: number;
  readonly waits: Readonly<Record<JobClass, ClassWaits>>;
  /** Share of all jobs that waited for longer than their class should. */
  readonly late: number;
  /** What is paid for: hours of pods, from their making to their end. */
  readonly replicaHours: number;
  readonly mostReplicas: number;
  /** Share of the time of ready pods' processes in which they worked. */
  readonly utilization: number;
  /** Jobs that had not begun at the end; their waits until then are counted. */
  readonly unfinished: number;
  /** How often pods were added within ten minutes of some being removed. */
  readonly flaps: number;
  readonly slices: readonly Slice[];
}

/** Counts what happens in a simulation. Times in seconds, never less than before. */
export interface Tally {
  arrived(now: number, tokens: number): void;
  began(now: number, classIndex: number, waited: number): void;
  worked(seconds: number): void;
  left(classIndex: number, waited: number): void;
  /** Before the number of pods changes. */
  elapsed(now: number, fleet: Fleet): void;
  scaled(now: number, fleet: Fleet, replicas: number): void;
  look(now: number, fleet: Fleet): void;
  end(now: number, fleet: Fleet): Outcome;
}

const SLICES = 240;
const FLAP_SECONDS = 600;

interface OpenSlice {
  jobs: number;
  ready: number;
  wanted: number;
  readonly waits: WaitHistogram;
}

export function createTally({ durationSeconds, shapes }: Workload, processes: number): Tally {
  const sliceSeconds = durationSeconds / SLICES;
  const waits = JOB_CLASSES.map(() => createWaitHistogram());
  const slices: readonly OpenSlice[] = Array.from({ length: SLICES }, () => ({
    jobs: 0,
    ready: 0,
    wanted: 0,
    waits: createWaitHistogram(),
  }));
  let [jobs, tokens, unfinished, busySeconds, podSeconds, readySeconds] = [0, 0, 0, 0, 0, 0];
  let [elapsedAt, mostReplicas, flaps, downAt] = [0, 0, 0, -Infinity];

  const sliceAt = (now: number): OpenSlice | undefined => slices[Math.floor(now / sliceSeconds)];

  function elapsed(now: number, fleet: Fleet): void {
    podSeconds += (now - elapsedAt) * fleet.pods.length;
    readySeconds += (now - elapsedAt) * fleet.ready;
    elapsedAt = now;
  }

  function classWaits(name: JobClass, histogram: WaitHistogram): ClassWaits {
    const { count, mean } = histogram;
    const late = 1 - histogram.shareWithin(shapes[name].targetSeconds);
    const [p50, p95, p99] = [histogram.quantile(0.5), histogram.quantile(0.95), histogram.quantile(0.99)];
    return { jobs: count, mean, p50, p95, p99, late };
  }

  return {
    elapsed,
    arrived(now, count) {
      jobs += 1;
      tokens += count;
      const slice = sliceAt(now);
      if (slice) slice.jobs += 1;
    },
    began(now, classIndex, waited) {
      waits[classIndex]?.add(waited);
      if (classIndex === 0) sliceAt(now)?.waits.add(waited);
    },
    worked(seconds) {
      busySeconds += seconds;
    },
    left(classIndex, waited) {
      unfinished += 1;
      waits[classIndex]?.add(waited);
    },
    scaled(now, fleet, replicas) {
      elapsed(now, fleet);
      mostReplicas = Math.max(mostReplicas, replicas);
      if (replicas < fleet.replicas) downAt = now;
      else if (now - downAt < FLAP_SECONDS) {
        flaps += 1;
        downAt = -Infinity;
      }
    },
    look(now, fleet) {
      const slice = sliceAt(now);
      if (!slice) return;
      slice.ready = Math.max(slice.ready, fleet.ready);
      slice.wanted = Math.max(slice.wanted, fleet.replicas);
      mostReplicas = Math.max(mostReplicas, fleet.replicas);
    },
    end(now, fleet) {
      elapsed(now, fleet);
      const byClass = JOB_CLASSES.map((name, at) => classWaits(name, waits[at] ?? createWaitHistogram()));
      const counted = byClass.reduce((sum, one) => sum + one.jobs, 0);
      return {
        jobs,
        tokens,
        waits: Object.fromEntries(JOB_CLASSES.map((name, at) => [name, byClass[at]])) as Outcome['waits'],
        late: counted === 0 ? 0 : byClass.reduce((sum, one) => sum + one.late * one.jobs, 0) / counted,
        replicaHours: podSeconds / 3_600,
        mostReplicas,
        utilization: readySeconds === 0 ? 0 : busySeconds / (readySeconds * processes),
        unfinished,
        flaps,
        slices: slices.map((slice, at) => ({
          at: at * sliceSeconds,
          jobsPerSecond: slice.jobs / sliceSeconds,
          ready: slice.ready,
          wanted: slice.wanted,
          p95: slice.waits.quantile(0.95),
        })),
      };
    },
  };
}
