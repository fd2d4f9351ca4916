import { createBatchConsumer, createConsumer, type Consumer } from '@sluice/broker';
import { QUEUES } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { CompletedFact } from '@sluice/store';
import type { Trace, Tracer } from '@sluice/telemetry';
import { createAccounting, type Accounting } from './accounting.js';
import type { Announcer } from './announcer.js';
import { createAttendance } from './attendance.js';
import type { Config } from './config.js';
import { createResultsHandler } from './consumer.js';
import { createDeadJobs } from './dead-jobs.js';
import { createDeadLetterHandler } from './dead-letters.js';
import type { Messaging } from './messaging.js';
import type { CollectorMetrics } from './metrics.js';
import type { Recorder } from './recorder.js';
import type { CollectorServers } from './servers.js';
import { leaveToSweep, type Settler } from './settlement.js';

/** Each may be as large as the broker lets a message be. */
const DEAD_LETTERS_AT_ONCE = 4;
const PREFETCHED_BATCHES = 4;
/**
 * How long facts are kept for servers that are away. With an attempt that hangs at that moment it is less than the grace
 * of overdue jobs, so a collector that is not cut off records them before they could be swept.
 */
const GIVE_BACK_AFTER_MS = 60_000;

export interface QueuesOptions {
  readonly config: Config;
  readonly servers: CollectorServers;
  readonly messaging: Messaging;
  readonly recorder: Recorder;
  /** Waits for Redis. */
  readonly settler: Settler;
  /** Does not. */
  readonly impatientSettler: Settler;
  readonly announcer: Announcer;
  /** PostgreSQL and Redis answer. */
  readonly serversUp: () => boolean;
  readonly onStoreFailure: () => void;
  readonly passFence: () => Promise<void>;
  /** Publishes the end of a job. */
  readonly report: (fact: CompletedFact, trace?: Trace) => Promise<void>;
  readonly metrics: CollectorMetrics;
  /** Aborts when the collector stops. */
  readonly signal: AbortSignal;
  /** The clock of Redis (Unix milliseconds). */
  readonly redisNowMs: () => Promise<number>;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: () => number;
  readonly tracer: Tracer;
  readonly logger: Logger;
}

/** Consumes the queue `results` while PostgreSQL and Redis answer. */
export function createResults(options: QueuesOptions): Consumer {
  const { config, servers, messaging, recorder, settler, announcer, serversUp, signal, monotonicMs, tracer, logger } =
    options;
  const { consuming: connection, publisher, member } = messaging;
  const accounting = createAccounting({ recorder, settler, announcer });
  const handlerUntil = (leaving: AbortSignal): ReturnType<typeof createResultsHandler> =>
    createResultsHandler({
      accounting,
      noteRunning: (jobs) => servers.quota.running(jobs),
      answerMarker: (marker) => member.received(marker),
      signal: AbortSignal.any([signal, leaving]),
      ...{ tracer, logger },
    });
  return createAttendance({
    open: (leaving) =>
      createBatchConsumer({
        ...{ connection, publisher, logger },
        queue: QUEUES.results,
        prefetch: config.maxBatch * PREFETCHED_BATCHES,
        maxBatch: config.maxBatch,
        lingerMs: config.lingerMs,
        concurrency: config.batchesInProgress,
        handler: handlerUntil(leaving),
      }),
    able: serversUp,
    mayBegin: () => member.ready,
    patienceMs: GIVE_BACK_AFTER_MS,
    intervalMs: config.healthIntervalMs,
    ...{ monotonicMs, logger },
  });
}

/** Consume the queues of dead messages and of those that were routed nowhere. */
export function createDeadLetterQueues(options: QueuesOptions): Readonly<Record<'dead' | 'unrouted', Consumer>> {
  const { consuming: connection, publisher } = options.messaging;
  const { logger } = options;
  const handler = deadLetterHandler(options);
  const source = { connection, publisher, prefetch: DEAD_LETTERS_AT_ONCE, handler, logger };
  return {
    dead: createConsumer({ ...source, queue: QUEUES.dead }),
    unrouted: createConsumer({ ...source, queue: QUEUES.unrouted }),
  };
}

function deadLetterHandler(options: QueuesOptions): ReturnType<typeof createDeadLetterHandler> {
  const { servers, recorder, announcer, passFence, report, metrics, signal, redisNowMs, tracer, logger } = options;
  const { store } = servers;
  const settler = leaveToSweep(options.impatientSettler, logger);
  const accounting: Accounting = createAccounting({ recorder, settler, announcer });
  return createDeadLetterHandler({
    ...{ accounting, store, signal, tracer, logger },
    now: () => redisNowMs().catch(() => Date.now()),
    endDeadJob: createDeadJobs({ store, passFence, report }),
    onFailure: options.onStoreFailure,
    onKept: metrics.deadLetter,
  });
}
