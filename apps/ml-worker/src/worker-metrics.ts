import type { AdjustableConsumer } from '@sluice/broker';
import { isBatchable, type JobClass } from '@sluice/contracts';
import type { Metrics } from '@sluice/telemetry';
import type { InferenceHost } from './inference/inference-host.js';
import type { ModelRoutes } from './models/served-models.js';
import type { Batchings } from './scheduling/batching.js';
import { tokensPerSecond } from './scheduling/capacity.js';

/** What is assumed of the texts of a model before one ran. */
const USUAL_TOKENS = 64;

export interface WorkerMetricsOptions {
  readonly metrics: Metrics;
  readonly pool: string;
  readonly consumers: readonly {
    readonly class: JobClass;
    readonly consumer: Pick<AdjustableConsumer, 'inFlight' | 'lastProgressAtMs'>;
  }[];
  /** Most jobs that may be in hand now, by class. */
  readonly prefetches: () => ReadonlyMap<JobClass, number>;
  readonly host: Pick<InferenceHost, 'warm' | 'idle'>;
  /** How many inference processes there should be. */
  readonly processes: () => number;
  readonly models: () => ReadonlyMap<string, ModelRoutes>;
  readonly batchings: Pick<Batchings, 'of'>;
  /** Mean tokens of the texts of a version that ran so far, by its key; undefined before the first. */
  readonly meanTokens: (key: string) => number | undefined;
}

/** Shows what a worker has in hand and could do, when somebody asks. Returns what is to be called when a process was lost. */
export function createWorkerMetrics(options: WorkerMetricsOptions): { readonly processLost: () => void } {
  const { metrics, pool, consumers, host, models, batchings } = options;
  const capacity = metrics.gauge(
    'sluice_worker_capacity_tokens_per_second',
    'What this worker would get done of a model alone, by the measured cost of full batches of texts as long as those that came.',
    ['pool', 'model'],
  );
  const inHand = metrics.gauge('sluice_worker_jobs_in_hand', 'Jobs that were delivered here and are not settled.', [
    'class',
  ]);
  const prefetch = metrics.gauge('sluice_worker_prefetch', 'Most jobs that may be in hand now.', ['class']);
  const processes = metrics.gauge(
    'sluice_worker_inference_processes',
    'Inference processes: wanted, warm (able to run), and idle among those.',
    ['state'],
  );
  const lost = metrics.counter(
    'sluice_worker_inference_processes_lost_total',
    'Inference processes that ended unasked.',
  );
  const age = metrics.gauge(
    'sluice_worker_progress_age_seconds',
    'Time since a job was last settled, or since the start.',
  );

  metrics.beforeRender(() => {
    capacity.clear();
    for (const [model, { main }] of models()) {
      const length = options.meanTokens(main.key) ?? USUAL_TOKENS;
      const all = options.processes() * tokensPerSecond(batchings.of(main), length, isBatchable(main.model.file));
      // n.b. others divide by it: what is no speed is not told.
      if (all > 0 && Number.isFinite(all)) capacity.of({ pool, model }).set(all);
    }
    for (const { class: jobClass, consumer } of consumers) {
      inHand.of({ class: jobClass }).set(consumer.inFlight);
    }
    for (const [jobClass, most] of options.prefetches()) prefetch.of({ class: jobClass }).set(most);
    processes.of({ state: 'wanted' }).set(options.processes());
    processes.of({ state: 'warm' }).set(host.warm);
    processes.of({ state: 'idle' }).set(host.idle);
    const lastMs = Math.max(...consumers.map(({ consumer }) => consumer.lastProgressAtMs));
    age.set((performance.now() - lastMs) / 1000);
  });
  return { processLost: () => lost.add() };
}
