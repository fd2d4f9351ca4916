import {
  createBrokerConnection,
  createBrokerMetrics,
  createConsumer,
  createPublisher,
  declareTopology,
  type BrokerConnection,
  type AdjustableConsumer,
} from '@sluice/broker';
import { workQueue, type AcceptedMessage, type JobClass } from '@sluice/contracts';
import { createLifecycle, createOpsServer, type Lifecycle, type Logger } from '@sluice/runtime';
import { createMetrics, createProcessMetrics, noTracing, type Tracing } from '@sluice/telemetry';
import { createBatcher } from './scheduling/batcher.js';
import { createBatchings } from './scheduling/batching.js';
import { createCalibration } from './scheduling/calibration.js';
import { createCancelInbox } from './jobs/cancel-inbox.js';
import { createCancellations } from './jobs/cancellations.js';
import type { WorkerConfig } from './config.js';
import { createHeldJobs } from './jobs/held-jobs.js';
import { createHoldTimes } from './jobs/hold-times.js';
import {
  createInferenceHost,
  memoryOfAll,
  type InferenceHost,
  type InferenceMemory,
} from './inference/inference-host.js';
import { createJobClock } from './jobs/job-clock.js';
import { createJobHandler } from './jobs/job-handler.js';
import { createJobMetrics } from './jobs/job-metrics.js';
import { createPrefetchControl } from './jobs/prefetch-control.js';
import { createProgressWatch } from './progress-watch.js';
import type { QueuedText } from './scheduling/running-job.js';
import { createScheduler } from './scheduling/scheduler.js';
import { createSplitMeasurement, type Split } from './scheduling/split-measurement.js';
import { findSplit } from './scheduling/split-search.js';
import { createSchedulingMetrics } from './scheduling/scheduling-metrics.js';
import { createModelRouter } from './models/model-router.js';
import { fixedModels, openModelFiles } from './models/model-files.js';
import { createModelMetrics, modelDetails } from './models/model-metrics.js';
import { createVersionLabels } from './models/version-labels.js';
import { loadedFor, type ServedPool } from './models/served-models.js';
import { createVersionCosts } from './models/version-costs.js';
import { shadowDetails } from './shadows/shadow-details.js';
import { createShadowTally } from './shadows/shadow-tally.js';
import { createShadows } from './shadows/shadows.js';
import { createStartedNotices } from './jobs/started-notices.js';
import { createWorkerMetrics } from './worker-metrics.js';

/** Requests to cancel that are remembered: some 20 MB. */
const MOST_CANCELLATIONS = 100_000;
/** Jobs of a class that a process should find, besides the one that it runs. */
const LEAST_JOBS_PER_PROCESS = 2;
/** The niceness of processes that may only have what nobody else wants. */
const LOWEST_PRIORITY = 19;
/** How many times the limits of time may pass for such a process, by the clock, before it had the processor for that long. */
const SHADOW_PATIENCE = 10;
/** Notices of started jobs that may be unanswered beside the results. */
const SPARE_PUBLISHES = 16;

export interface WorkerOptions {
  readonly config: WorkerConfig;
  readonly logger: Logger;
  /** Records what becomes of jobs; nothing does when absent. */
  readonly tracing?: Pick<Tracing, 'tracer'>;
  /** Path of the built inference-process module. */
  readonly inferenceModulePath: string;
  /** What it serves; what the model repository has of its pool when absent. */
  readonly served?: ServedPool;
  /** Runs batches; inference processes do when absent. */
  readonly host?: InferenceHost;
  /** A new connection to RabbitMQ, by its purpose; to the server of the configuration when absent. */
  readonly connect?: (purpose: string) => BrokerConnection;
}

export interface Worker extends Lifecycle {
  /** Port of the ops server; undefined when it is off or not started. */
  readonly opsPort: number | undefined;
  /** Serves what models.yaml and the model repository say now; resolves when that is done or refused. Never rejects. */
  reload(): Promise<void>;
}

/**
 * Puts a worker together.
 *
 * It starts in the order connections, topology, requests to cancel, inference processes, calibration, consumers: a job is taken only when something
 * can run it. It stops in reverse: the consumers first stop taking jobs and finish those in hand (run, published,
 * confirmed, acknowledged), then the processes and the connections end.
 *
 * @throws ServiceError `model_unavailable` when a model of the pool cannot be served.
 */
export async function createWorker(options: WorkerOptions): Promise<Worker> {
  const { config, logger, inferenceModulePath: modulePath, connect = connectTo(config, logger) } = options;
  const { modelsFile, pool } = config;
  const { tracing = noTracing } = options;
  const source = options.served ? fixedModels(options.served) : await openModelFiles(config, logger);
  const { served } = source;
  const router = createModelRouter(served.models);
  let split: Split = { processes: config.inference.processes, threads: config.inference.threads };
  const metrics = createMetrics();
  let processLost = (): void => undefined;
  const hostOptions = { ...config.inference, modulePath, models: served.versions, onLost: () => processLost(), logger };
  const host =
    options.host ??
    createInferenceHost({
      ...hostOptions,
      // They are read when a process is started.
      get processes() {
        return split.processes;
      },
      get threads() {
        return split.threads;
      },
    });
  const broker = createBrokerMetrics(metrics);
  const labels = createVersionLabels();
  labels.learn(served.models);
  const observer = createSchedulingMetrics(metrics, labels.of);
  const modelMetrics = createModelMetrics(metrics, labels.of);
  const batchings = createBatchings(config.batch);
  const calibration = createCalibration({
    ...config.calibration,
    ...{ threads: () => split.threads, provider: config.inference.provider.name, host, logger },
    loadTimeoutMs: config.inference.loadTimeoutMs,
    costOf: (key) => batchings.costOf(key),
  });
  const scheduler = createScheduler({
    ...{ host, observer, logger },
    batcher: createBatcher<QueuedText>(),
    batchingOf: (model) => batchings.of(model),
    timeoutMs: config.inference.timeoutMs,
    cancelGraceMs: config.cancelGraceMs,
  });
  const tally = createShadowTally({ metrics, logger, now: () => performance.now() });
  const shadows = createShadows({
    ...{ tally, logger },
    isQuiet: () => scheduler.waiting === 0 && host.idle > 0,
    createHost: (shadowed) =>
      createInferenceHost({
        ...config.inference,
        ...{ modulePath, models: shadowed, processes: 1, niceness: LOWEST_PRIORITY, patience: SHADOW_PATIENCE, logger },
      }),
  });
  shadows.follow(served.models);
  const models = source.serve({
    ...{ host, labels, logger },
    router: {
      switchTo(next) {
        router.switchTo(next);
        shadows.follow(next);
      },
    },
    costs: createVersionCosts({ calibration, batchings }),
    stillNeeded: (key) => scheduler.waitingFor(key),
    isComplete: () => shadows.areLoaded,
    onApplied(problems) {
      modelMetrics.reloaded(problems);
      // n.b. the names of before, where what was tried is not what runs now.
      labels.learn(router.models);
      const loaded = [...router.models.values()].flatMap(loadedFor).map(({ key }) => key);
      labels.keepOnly(new Set([...loaded, ...unloadable().keys()]));
      observer.keepOnly(new Set(models.running.versions.map(({ key }) => key)));
    },
  });

  // Two connections: the broker slows a connection that publishes too fast, and acknowledgements must not wait for that.
  const consuming = connect('consumes');
  const publishing = connect('publishes');
  const publisher = createPublisher({
    connection: publishing,
    logger,
    deadlineMs: config.publishTimeoutMs,
    maxInFlight: sum(Object.values(config.prefetch)) * 2 + SPARE_PUBLISHES,
    observer: broker.observer('results'),
  });
  const clock = createJobClock();
  const now = (): number => clock.now();
  const cancellations = createCancellations({ limit: MOST_CANCELLATIONS, now });
  const held = createHeldJobs();
  const cancelInbox = createCancelInbox({ connection: consuming, cancellations, held, clock, publisher, logger });
  const notices = createStartedNotices({ publisher, logger, now });
  const holdTimes = createHoldTimes();
  const stopping = new AbortController();
  const handler = createJobHandler({
    ...{ scheduler, publisher, cancellations, held, notices, shadows, clock, logger },
    tracer: tracing.tracer,
    observer: createJobMetrics(metrics),
    models: {
      shadowOf: (message: AcceptedMessage, answeredBy) => router.shadowOf(message, answeredBy),
      route(message: AcceptedMessage) {
        const model = router.route(message);
        if (model) holdTimes.came(message.class, batchings.of(model).limits.targetLatencyMs);
        return model;
      },
    },
    stopping: stopping.signal,
  });

  const consumerOf = (jobClass: JobClass): AdjustableConsumer =>
    createConsumer({
      connection: consuming,
      publisher,
      queue: workQueue(pool, jobClass),
      prefetch: config.prefetch[jobClass],
      maxBytes: config.maxHeldBytes,
      handler,
      logger,
    });
  const consumerByClass = served.classes.map((jobClass) => ({
    class: jobClass,
    most: config.prefetch[jobClass],
    consumer: consumerOf(jobClass),
  }));
  const consumers = consumerByClass.map(({ consumer }) => consumer);
  const prefetch = createPrefetchControl({
    consumers: consumerByClass,
    least: () => LEAST_JOBS_PER_PROCESS * split.processes,
    holdMs: (jobClass) => holdTimes.take(jobClass),
    now: () => performance.now(),
    logger,
  });
  broker.watch({ connections: { consuming, publishing }, publishers: { results: publisher } });
  ({ processLost } = createWorkerMetrics({
    ...{ metrics, pool, consumers: consumerByClass, host, batchings },
    prefetches: () => prefetch.prefetches,
    processes: () => split.processes,
    models: () => router.models,
    meanTokens: (key) => observer.meanTokens(key),
  }));
  metrics.beforeRender(() => {
    observer.update(scheduler.waitingByModel());
    modelMetrics.update({
      models: router.models,
      memory: memory(),
      unloadable: unloadable(),
      problems: problems(),
    });
  });
  const memory = (): InferenceMemory =>
    memoryOfAll([...[...shadows.versions.values()].map((version) => version.host), host]);
  const problems = (): readonly string[] => [...models.watch.problems, ...shadows.problems];
  const unloadable = (): ReadonlyMap<string, string> => new Map([...models.unloadable, ...shadows.unloadable]);
  const attached = (): boolean => cancelInbox.attached && consumers.every((consumer) => consumer.attached);
  const connected = (): boolean => consuming.state === 'connected' && publishing.state === 'connected';
  const watch = createProgressWatch({ consumers, stallTimeoutMs: config.stallTimeoutMs, now: () => performance.now() });

  const ops = createOpsServer({
    ...config.ops,
    // A broker that is away or blocked is no reason to restart: the connections come back by themselves.
    live: () => !connected() || lifecycle.state !== 'running' || (attached() && !watch.stalled()),
    ready: () => lifecycle.state === 'running' && connected() && attached() && host.warm > 0,
    detail: () => ({
      pool,
      models: modelDetails(router.models, memory().models),
      modelFiles: {
        state: models.watch.busy ? 'changing' : 'served',
        problems: problems(),
        unloadable: entries(unloadable()),
      },
      connections: { consuming: consuming.state, publishing: publishing.state },
      jobsInHand: sum(consumers.map(({ inFlight }) => inFlight)),
      waitingTexts: scheduler.waiting,
      batching: batchings.detail(),
      cancelRequests: cancellations.size,
      jobTimeMs: clock.now(),
      inferenceProcesses: {
        wanted: split.processes,
        threads: split.threads,
        warm: host.warm,
        idle: host.idle,
        pids: host.pids,
        memoryBytes: { processes: entries(host.memory.processes), models: entries(host.memory.models) },
      },
      shadows: shadowDetails(router.models, { shadows, tally }),
    }),
    metrics: () => metrics.render(),
    logger,
  });

  async function divideCores(): Promise<void> {
    const { processes: cores, mayBeDivided, loadTimeoutMs } = config.inference;
    const stop = stopping.signal;
    if (!mayBeDivided) return;
    const hostOf = (each: Split): InferenceHost => createInferenceHost({ ...hostOptions, ...each });
    const measure = createSplitMeasurement({ models: served.versions, hostOf, loadTimeoutMs, stop });
    split = await findSplit({ ...config.calibration, cores, models: served.versions, measure, stop, logger });
    if (stop.aborted) return;
    logger.info({ ...split }, 'the cores are divided among inference processes');
  }

  const lifecycle = createLifecycle(
    [
      // n.b. nobody can ask where there is no ops server.
      ...(config.ops.port === undefined ? [] : [part('process metrics', createProcessMetrics(metrics, 'ml-worker'))]),
      part('ops server', ops),
      part('publishing connection', publishing),
      part('consuming connection', consuming),
      { name: 'topology', start: () => declareTopology(consuming, { pools: modelsFile.pools }) },
      part('publisher', publisher),
      // Before the first job and until the last one: whatever is in hand can be cancelled. And before the processes, which
      // take a while to load their models: by then somebody has told the time.
      part('requests to cancel', cancelInbox),
      { name: 'division of the cores', start: divideCores },
      { name: 'inference processes', start: () => models.start(), stop: () => host.stop() },
      { name: 'calibration', start: () => calibration.calibrate(models.running.versions, stopping.signal) },
      part('shadows', shadows),
      part('model files', models.watch),
      { name: 'notices of started jobs', stop: async () => notices.stop() },
      {
        name: 'consumers',
        start: async () => void (await Promise.all(consumers.map((consumer) => consumer.start()))),
        stop: async () => void (await Promise.all(consumers.map((consumer) => consumer.stop()))),
      },
      { name: 'prefetch', start: async () => prefetch.start(), stop: async () => prefetch.stop() },
    ],
    logger,
  );

  return {
    get state() {
      return lifecycle.state;
    },
    get opsPort() {
      return ops.port;
    },
    start: () => lifecycle.start(),
    reload: () => models.watch.check(),
    stop() {
      stopping.abort();
      return lifecycle.stop();
    },
  };
}

function connectTo(
  { rabbitmqUrl: url, workerId }: WorkerConfig,
  logger: Logger,
): (purpose: string) => BrokerConnection {
  return (purpose) => createBrokerConnection({ url, name: `ml-worker ${workerId} ${purpose}`, logger });
}

function part(name: string, service: { start(): Promise<void>; stop(): Promise<void> }) {
  return { name, start: () => service.start(), stop: () => service.stop() };
}

function entries<Value>(map: ReadonlyMap<string | number, Value>): Readonly<Record<string, Value>> {
  return Object.fromEntries(map);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
