import type { JobClass } from '@sluice/contracts';
import type { StartTime } from './simulation.js';
import type { JobShape, Workload } from './workload.js';

/** A course of load. */
export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly workload: Workload;
  readonly startTime: StartTime;
  /** Pods at the beginning, ready. */
  readonly replicas: number;
  /** Overrides the policy's. */
  readonly minReplicaCount?: number;
  readonly outage?: { readonly from: number; readonly until: number };
}

/**
 * Jobs of an encoder of sentences: single sentences that somebody waits for, some paragraphs, documents in the background. The mean
 * text has as many tokens as those of the benchmark of inference.
 */
export const SHAPES: Readonly<Record<JobClass, JobShape>> = {
  interactive: { share: 0.7, texts: 1, meanTokens: 33.5, spread: 0.8, targetSeconds: 1 },
  standard: { share: 0.25, texts: 8, meanTokens: 33.5, spread: 0.8, targetSeconds: 10 },
  batch: { share: 0.05, texts: 128, meanTokens: 33.5, spread: 0.8, targetSeconds: 300 },
};

/** The image is on the node; the model is loaded and measured. An assumption: no cluster was there to measure it. */
const WARM: StartTime = { least: 15, most: 30 };

const MINUTE = 60;
const HOUR = 3_600;

/** The lowest is a tenth of the highest. */
function dayAt(seconds: number, peak: number, daySeconds: number): number {
  return peak * (0.55 - 0.45 * Math.cos((2 * Math.PI * seconds) / daySeconds));
}

/** Ten times the rest for two minutes every twenty. */
function burstsAt(seconds: number, base: number): number {
  return seconds % (20 * MINUTE) >= 5 * MINUTE && seconds % (20 * MINUTE) < 7 * MINUTE ? 10 * base : base;
}

const RAMP_SECONDS = 30 * MINUTE;
const RAMP_TO = 10_000;

/** From 1 to 10,000, by the same factor every second. */
function rampAt(seconds: number): number {
  return Math.exp(Math.log(RAMP_TO) * Math.min(1, seconds / RAMP_SECONDS));
}

/** Nothing for 40 minutes, then 50 jobs a second for two. */
function rareAt(seconds: number): number {
  const at = seconds % (42 * MINUTE);
  return at >= 40 * MINUTE ? 50 : 0;
}

export const SCENARIOS = [
  {
    name: 'steady',
    description: '600 jobs/s',
    workload: { durationSeconds: HOUR / 2, rateAt: () => 600, shapes: SHAPES },
    startTime: WARM,
    replicas: 6,
  },
  {
    name: 'day',
    description: 'a day in two hours, 40 to 400 jobs/s',
    workload: { durationSeconds: 2 * HOUR, rateAt: (at) => dayAt(at, 400, 2 * HOUR), shapes: SHAPES },
    startTime: WARM,
    replicas: 1,
  },
  {
    name: 'bursts',
    description: '100 jobs/s, and 1,000 for two minutes every twenty',
    workload: { durationSeconds: HOUR, rateAt: (at) => burstsAt(at, 100), shapes: SHAPES },
    startTime: WARM,
    replicas: 1,
  },
  {
    name: 'ramp',
    description: '1 to 10,000 jobs/s within half an hour, then two minutes of 10,000',
    workload: { durationSeconds: RAMP_SECONDS + 2 * MINUTE, rateAt: rampAt, shapes: SHAPES },
    startTime: WARM,
    replicas: 1,
  },
  {
    name: 'rare',
    description: 'nothing for 40 minutes, then 50 jobs/s for two; scaled to zero',
    workload: { durationSeconds: 7 * HOUR, rateAt: rareAt, shapes: SHAPES },
    startTime: WARM,
    replicas: 0,
    minReplicaCount: 0,
  },
] as const satisfies readonly Scenario[];
