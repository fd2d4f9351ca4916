import type { SettleOutcome } from '@sluice/quota';
import type { CompletedFact, Fact } from '@sluice/store';
import { COUNT_BOUNDS, DURATION_BOUNDS, WAIT_BOUNDS, type Metrics } from '@sluice/telemetry';
import { createDriftMetrics, type DriftMetrics } from './drift-metrics.js';
import { createEstimateMetrics } from './estimate-metrics.js';
import type { Sweep } from './sweeper.js';

/** What the parts of a collector tell about their work. */
export interface CollectorMetrics extends DriftMetrics {
  readonly recorded: (type: Fact['type'], count: number) => void;
  /** A batch is in the books, so long after it was begun. */
  readonly batch: (facts: number, ms: number) => void;
  /** The end of a job is new in the books. */
  readonly completed: (fact: CompletedFact) => void;
  readonly settled: (outcome: SettleOutcome | 'damaged') => void;
  /** Redis settled some holds together within this time. */
  readonly settling: (ms: number) => void;
  readonly serverFailed: (server: Server) => void;
  readonly deadLetter: (queue: string) => void;
  readonly published: (eventType: string) => void;
  readonly swept: (sweep: Sweep) => void;
  readonly alertSent: () => void;
  readonly dropped: (table: string, rows: number) => void;
  readonly ran: (task: string, outcome: 'done' | 'failed') => void;
  readonly partitionsAhead: (months: number) => void;
  /** Messages that wait in the queues of what could not be processed. */
  readonly depths: (depths: Readonly<Record<'dead' | 'unrouted', number>>) => void;
  /** Shows which servers answer when somebody asks. */
  readonly watch: (up: () => Readonly<Record<Server, boolean>>) => void;
}

export type Server = 'postgres' | 'redis';

/** @param jobNowMs the clock that jobs end by (Unix milliseconds); undefined while nobody knows it. */
export function createCollectorMetrics(metrics: Metrics, jobNowMs: () => number | undefined): CollectorMetrics {
  const facts = metrics.counter('sluice_facts_recorded_total', 'Facts added to the books.', ['type']);
  const batches = metrics.histogram('sluice_record_batch_facts', 'Facts in a batch.', COUNT_BOUNDS);
  const recording = metrics.histogram(
    'sluice_record_duration_seconds',
    'Time until a batch is in the books, waiting for PostgreSQL included.',
    DURATION_BOUNDS,
  );
  const lag = metrics.histogram(
    'sluice_record_lag_seconds',
    'From the end of a job at its worker to the end being in the books.',
    WAIT_BOUNDS,
  );
  const settlements = metrics.counter('sluice_settlements_total', 'Holds settled in Redis, by outcome.', ['outcome']);
  const settling = metrics.histogram(
    'sluice_settle_duration_seconds',
    'Time that Redis took to settle the holds of a batch.',
    DURATION_BOUNDS,
  );
  const failures = metrics.counter('sluice_server_failures_total', 'Attempts that a server failed.', ['server']);
  const up = metrics.gauge('sluice_server_up', '1 while a server answers.', ['server']);
  const letters = metrics.counter('sluice_dead_letters_total', 'Dead messages kept, by the queue they were in.', [
    'queue',
  ]);
  const dead = metrics.gauge('sluice_dead_messages', 'Messages in the queue dead that nobody has taken yet.');
  const unrouted = metrics.gauge(
    'sluice_unrouted_messages',
    'Messages in the queue unrouted that nobody has taken yet.',
  );
  const events = metrics.counter('sluice_events_published_total', 'Events confirmed by the broker.', ['type']);
  const sweeps = metrics.counter('sluice_swept_jobs_total', 'Jobs and holds that the sweep ended.', ['outcome']);
  const alerts = metrics.counter('sluice_limit_alerts_total', 'Alerts on quotas that were sent.');
  const rows = metrics.counter('sluice_dropped_rows_total', 'Rows dropped because their time was over.', ['table']);
  const runs = metrics.counter('sluice_task_runs_total', 'Runs of periodic tasks, by outcome.', ['task', 'outcome']);
  const ahead = metrics.gauge(
    'sluice_partitions_ahead_months',
    'Months after this one that tables have partitions for, of the table with fewest; as of the last look.',
  );
  const estimated = createEstimateMetrics(metrics);
  // Known from the start, so that the first of each is seen as a growth.
  for (const type of ['accepted', 'completed']) facts.of({ type });
  for (const queue of ['dead', 'unrouted']) letters.of({ queue });
  for (const server of ['postgres', 'redis']) failures.of({ server });

  return {
    ...createDriftMetrics(metrics),
    recorded: (type, count) => facts.of({ type }).add(count),
    batch(count, ms) {
      batches.observe(count);
      recording.observe(ms / 1000);
    },
    completed(fact) {
      estimated(fact);
      const nowMs = jobNowMs();
      if (nowMs !== undefined) lag.observe((nowMs - fact.finishedAtMs) / 1000);
    },
    settled: (outcome) => settlements.of({ outcome }).add(),
    settling: (ms) => settling.observe(ms / 1000),
    serverFailed: (server) => failures.of({ server }).add(),
    deadLetter: (queue) => letters.of({ queue }).add(),
    published: (type) => events.of({ type }).add(),
    swept: (sweep) =>
      Object.entries<number>({ ...sweep }).forEach(([outcome, count]) => sweeps.of({ outcome }).add(count)),
    alertSent: () => alerts.add(),
    dropped: (table, count) => rows.of({ table }).add(count),
    ran: (task, outcome) => runs.of({ task, outcome }).add(),
    partitionsAhead: (months) => ahead.set(months),
    depths(depths) {
      dead.set(depths.dead);
      unrouted.set(depths.unrouted);
    },
    watch(states) {
      metrics.beforeRender(() => {
        for (const [server, isUp] of Object.entries(states())) up.of({ server }).set(Number(isUp));
      });
    },
  };
}
