import type { ResultTable } from '../harness/report.js';
import type { Plan } from './plan.js';
import type { Variant } from './studies.js';
import type { Outcome } from './tally.js';

/** Figures of several ways to scale, a line each. */
export function outcomeTable(title: string, outcomes: ReadonlyMap<Variant, Outcome>): ResultTable {
  return {
    title,
    head: [
      'scaled by',
      'interactive p50, p95, p99',
      'standard p95',
      'batch p95',
      'late, %',
      'worker hours',
      'most',
      'used, %',
      'flaps',
      'left',
    ],
    rows: [...outcomes].map(([{ name }, outcome]) => [name, ...figuresOf(outcome)]),
    data: [...outcomes].map(([{ name }, { slices: _, ...figures }]) => ({ name, ...figures })),
  };
}

function figuresOf({ waits, late, replicaHours, mostReplicas, utilization, flaps, unfinished }: Outcome) {
  const { interactive, standard, batch } = waits;
  return [
    [interactive.p50, interactive.p95, interactive.p99].map(formatSeconds).join(', '),
    formatSeconds(standard.p95),
    formatSeconds(batch.p95),
    (100 * late).toFixed(1),
    replicaHours.toFixed(1),
    String(mostReplicas),
    (100 * utilization).toFixed(0),
    String(flaps),
    unfinished.toLocaleString('en-US'),
  ];
}

/** Two digits that mean something, and no more than thousandths. */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.000_5) return '0';
  if (seconds < 0.1) return seconds.toFixed(3);
  return seconds >= 10 ? seconds.toFixed(0) : seconds.toFixed(seconds < 1 ? 2 : 1);
}

/** What numbers of jobs need, a line each. */
export function planTable(plans: readonly Plan[]): ResultTable {
  return {
    title: 'what so many jobs a second need',
    head: [
      'jobs/s',
      'workers',
      'for sentences',
      'gateways',
      'collectors',
      'RabbitMQ nodes × cores',
      'PostgreSQL cores',
      'Redis primaries',
    ],
    rows: plans.map((plan) => [
      plan.jobsPerSecond.toLocaleString('en-US'),
      String(plan.workers),
      String(plan.sentenceWorkers),
      String(plan.gateways),
      String(plan.collectors),
      `3 × ${plan.rabbitmqCores}`,
      String(plan.postgresqlCores),
      String(plan.redis),
    ]),
    data: plans,
  };
}
