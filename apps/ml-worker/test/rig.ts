import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ack,
  createBrokerConnection,
  createConsumer,
  createInbox,
  createPublisher,
  declareTopology,
  type Delivery,
} from '@sluice/broker';
import {
  completedMessageSchema,
  EXCHANGES,
  HEADERS,
  holdingMessageSchema,
  JOB_CLASSES,
  MESSAGE_TYPES,
  QUEUES,
  routingKey,
  startedMessageSchema,
  type AcceptedMessage,
  type CompletedMessage,
  type HoldingMessage,
} from '@sluice/contracts';
import { createVirtualHost, testServices } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { createLogger, delay } from '@sluice/runtime';
import { writeTinyModel } from './tiny-model.js';
import { isAlive, startWorkerProcess, type Machine, type WorkerProcess } from './worker-process.js';

export const POOL = 'text';
const REAL_MODELS = ['use-lite-en', 'use-lite-en-int8', 'guesslang'] as const;
const BUILT_MODELS = fileURLToPath(new URL('../../../.local/models', import.meta.url));

const logger = createLogger({ app: 'test', level: 'silent' });

/** Model repository and configuration of the tests: the bundled models and the tiny one. */
export interface ModelFixture {
  readonly modelDirectory: string;
  readonly configDirectory: string;
  remove(): Promise<void>;
}

/** A model beside those that are always there. */
export interface FurtherModel {
  readonly name: string;
  readonly write: (repository: string) => Promise<void>;
}

export async function prepareModels(...further: readonly FurtherModel[]): Promise<ModelFixture> {
  await mkdir(BUILT_MODELS, { recursive: true });
  await buildModels({ directory: BUILT_MODELS });
  const directory = await mkdtemp(join(tmpdir(), 'sluice-worker-'));
  for (const name of REAL_MODELS) await symlink(join(BUILT_MODELS, name), join(directory, name));
  await writeTinyModel(directory);
  for (const { write } of further) await write(directory);
  const names = [...REAL_MODELS, 'tiny', ...further.map(({ name }) => name)];
  const models = names.map((name) => `  ${name}: { pool: ${POOL}, version: '1' }`);
  await writeFile(join(directory, 'models.yaml'), [`pools: { ${POOL}: {} }`, 'models:', ...models].join('\n'));
  return {
    modelDirectory: directory,
    configDirectory: directory,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** A virtual host with the suite's queues, in the place of the gateway and of the results collector. */
export interface Rig {
  /** What arrived in `results`, by job. */
  readonly completions: ReadonlyMap<string, readonly CompletedMessage[]>;
  /** How often a job was reported to have started. */
  readonly started: ReadonlyMap<string, number>;
  /** What arrived in `dead`. */
  readonly dead: readonly Delivery[];
  /** What workers answered to requests to cancel. */
  readonly answers: readonly HoldingMessage[];
  /** What its workers are told where nothing else is said. */
  readonly environment: Readonly<Record<string, string>>;
  /** Publishes jobs as the gateway does; resolves when the broker has all of them. */
  submit(jobs: readonly AcceptedMessage[], attempt?: number): Promise<void>;
  /** The same, each job as a part of a trace. */
  submitTraced(jobs: readonly AcceptedMessage[], traceparentOf: (job: AcceptedMessage) => string): Promise<void>;
  /** Asks every worker to cancel a job, as the gateway does; resolves when the broker has passed it on. */
  cancel(job: AcceptedMessage): Promise<void>;
  /** Tells every worker what time it is, as the gateway does. */
  tellTime(redisNowMs: number): Promise<void>;
  /** Publishes any body to where requests to cancel go. */
  cancelRaw(body: string): Promise<void>;
  /** Publishes any body to a work queue. */
  submitRaw(body: string, messageId: string): Promise<void>;
  /** Resolves when `condition` holds; it is looked at whenever a result, a notice, an answer or a dead message arrives. */
  until(condition: () => boolean): Promise<void>;
  /** Starts the built worker. It is ended, if need be, by `release`. */
  worker(settings?: Readonly<Record<string, string | undefined>>, machine?: Machine): Promise<WorkerProcess>;
  /** Ends the workers that still run, and checks that none of their processes is left. */
  release(): Promise<void>;
  close(): Promise<void>;
}

export async function openRig(models: ModelFixture): Promise<Rig> {
  const { rabbitmqUrl, rabbitmqManagementUrl } = testServices();
  const host = await createVirtualHost({ rabbitmqUrl, managementUrl: rabbitmqManagementUrl });
  const connection = createBrokerConnection({ url: host.url, name: 'ml-worker test', logger });
  await connection.start();
  await declareTopology(connection, { pools: { [POOL]: { classes: JOB_CLASSES } } });
  const publisher = createPublisher({ connection, logger, deadlineMs: 10_000, maxInFlight: 10_000 });
  await publisher.start();

  const completions = new Map<string, CompletedMessage[]>();
  const started = new Map<string, number>();
  const dead: Delivery[] = [];
  const arrivals = new EventEmitter();
  const publishJob = (job: AcceptedMessage, headers: Readonly<Record<string, string | number>>) =>
    publisher.publish({
      exchange: EXCHANGES.jobs,
      routingKey: routingKey(POOL, job.class),
      type: MESSAGE_TYPES.accepted,
      messageId: job.jobId,
      body: Buffer.from(JSON.stringify(job)),
      headers,
    });
  const collect = (queue: string, take: (delivery: Delivery) => void) =>
    createConsumer({
      ...{ connection, publisher, queue, logger, prefetch: 100 },
      async handler(delivery) {
        take(delivery);
        arrivals.emit('arrival');
        return ack;
      },
    });
  const collectors = [
    collect(QUEUES.results, ({ body, type }) => {
      if (type === MESSAGE_TYPES.started) {
        const { jobs } = startedMessageSchema.parse(JSON.parse(body.toString()));
        for (const { jobId } of jobs) started.set(jobId, (started.get(jobId) ?? 0) + 1);
      }
      if (type !== MESSAGE_TYPES.completed) return;
      const message = completedMessageSchema.parse(JSON.parse(body.toString()));
      completions.set(message.jobId, [...(completions.get(message.jobId) ?? []), message]);
    }),
    collect(QUEUES.dead, (delivery) => dead.push(delivery)),
  ];
  for (const collector of collectors) await collector.start();

  const answers: HoldingMessage[] = [];
  const inbox = createInbox({
    ...{ connection, logger },
    onMessage({ type, body }) {
      if (type !== MESSAGE_TYPES.holding) throw new Error(`a worker answered ${type}`);
      answers.push(holdingMessageSchema.parse(JSON.parse(body.toString())));
      arrivals.emit('arrival');
    },
  });
  await inbox.start();

  const tellWorkers = (type: string, body: string) =>
    publisher.publish({
      ...{ exchange: EXCHANGES.cancellations, routingKey: '', type, messageId: randomUUID() },
      replyTo: inbox.queue ?? '',
      body: Buffer.from(body),
    });
  const cancelRaw = (body: string) => tellWorkers(MESSAGE_TYPES.cancel, body);

  const environment = {
    SLUICE_RABBITMQ_URL: host.url,
    SLUICE_CONFIG_DIR: models.configDirectory,
    SLUICE_MODEL_DIR: models.modelDirectory,
    SLUICE_INFERENCE_PROCESSES: '2',
    SLUICE_CALIBRATION: 'off',
  };
  const workers: WorkerProcess[] = [];
  const pids = new Set<number>();

  return {
    completions,
    started,
    dead,
    answers,
    environment,
    cancel: ({ jobId, tenantId, expiresAtMs }) => cancelRaw(JSON.stringify({ jobId, tenantId, expiresAtMs })),
    cancelRaw,
    tellTime: (redisNowMs) => tellWorkers(MESSAGE_TYPES.clock, JSON.stringify({ redisNowMs })),
    async submit(jobs, attempt) {
      const headers = attempt === undefined ? {} : { [HEADERS.attempt]: attempt };
      await Promise.all(jobs.map((job) => publishJob(job, headers)));
    },
    async submitTraced(jobs, traceparentOf) {
      await Promise.all(jobs.map((job) => publishJob(job, { traceparent: traceparentOf(job) })));
    },
    submitRaw: (body, messageId) =>
      publisher.publish({
        exchange: EXCHANGES.jobs,
        routingKey: routingKey(POOL, 'standard'),
        type: MESSAGE_TYPES.accepted,
        messageId,
        body: Buffer.from(body),
      }),
    async until(condition) {
      while (!condition()) await once(arrivals, 'arrival');
    },
    async worker(settings = {}, machine = {}) {
      const worker = await startWorkerProcess({ ...environment, ...settings }, machine);
      workers.push(worker);
      const { detail } = await worker.health();
      const shadowPids = detail.shadows.flatMap((shadow) => shadow.pids);
      for (const pid of [worker.pid, ...detail.inferenceProcesses.pids, ...shadowPids]) pids.add(pid);
      return worker;
    },
    async release() {
      await Promise.all(workers.splice(0).map((worker) => worker.end('SIGTERM')));
      // The processes of a worker that was killed end when they notice; the test's time limit bounds the wait.
      while ([...pids].some(isAlive)) await delay(10);
      pids.clear();
    },
    async close() {
      for (const collector of collectors) await collector.stop();
      await inbox.stop();
      await publisher.stop();
      await connection.stop();
      await host.drop();
    },
  };
}
