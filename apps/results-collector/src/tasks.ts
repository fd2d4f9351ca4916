import type { Logger, Service } from '@sluice/runtime';
import type { CompletedFact } from '@sluice/store';
import { createAlerts } from './alerts.js';
import type { Announcer } from './announcer.js';
import type { Config } from './config.js';
import { createDriftCheck } from './drift-check.js';
import { createMaintenance } from './maintenance.js';
import type { CollectorMetrics } from './metrics.js';
import { createPeriodic } from './periodic.js';
import { createRetention } from './retention.js';
import type { CollectorServers } from './servers.js';
import type { Settler } from './settlement.js';
import { createSweeper } from './sweeper.js';

export interface TasksOptions {
  readonly config: Config;
  readonly servers: CollectorServers;
  /** PostgreSQL and Redis answer. */
  readonly serversUp: () => boolean;
  readonly passFence: () => Promise<void>;
  /** Publishes the end of a job. */
  readonly report: (fact: CompletedFact) => Promise<void>;
  /** Must not wait for a server that is away. */
  readonly settler: Settler;
  readonly announcer: Announcer;
  readonly metrics: CollectorMetrics;
  readonly logger: Logger;
  /** The clock of Redis (Unix milliseconds). Rejects while it is away. */
  readonly redisNowMs: () => Promise<number>;
}

/** What a collector does again and again. */
export interface Tasks {
  readonly partitions: Service;
  readonly sweep: Service;
  readonly drift: Service;
  readonly alerts: Service;
  readonly retention: Service;
  readonly backlog: Service;
}

export function createTasks(options: TasksOptions): Tasks {
  const { config, logger } = options;
  const { store } = options.servers;
  const ran = (task: string) => (outcome: 'done' | 'failed') => options.metrics.ran(task, outcome);
  const periodic = (name: string, intervalMs: number, run: Run): Service =>
    createPeriodic({ name, intervalMs, run, onRun: ran(name), logger });
  return {
    partitions: createMaintenance({
      ...{ store, intervalMs: config.maintenanceIntervalMs, logger },
      nowMs: () => store.nowMs(),
      onAhead: options.metrics.partitionsAhead,
      onRun: ran('partitions'),
    }),
    sweep: periodic('sweep', config.sweepIntervalMs, sweepOf(options)),
    drift: periodic('drift check', config.driftIntervalMs, driftOf(options)),
    alerts: periodic('limit alerts', config.alertIntervalMs, alertsOf(options)),
    retention: periodic('retention', config.maintenanceIntervalMs, retentionOf(options)),
    backlog: periodic('backlog check', config.maintenanceIntervalMs, backlogOf(options)),
  };
}

type Run = (halted: AbortSignal) => Promise<void>;

function sweepOf(options: TasksOptions): Run {
  const { config, servers, metrics, serversUp: mayGoOn, settler, report, passFence, redisNowMs, logger } = options;
  const { store, quota } = servers;
  const sweeper = createSweeper({
    ...{ store, quota, settler, report, passFence, mayGoOn, redisNowMs, logger },
    graceMs: config.sweepGraceMs,
  });
  return async (halted) => metrics.swept(await sweeper.sweep(halted));
}

function driftOf({ servers, metrics, serversUp, passFence, redisNowMs, logger }: TasksOptions): Run {
  const { store, quota } = servers;
  const driftCheck = createDriftCheck({
    ...{ store, quota, passFence, redisNowMs, logger },
    onDrift: metrics.drift,
    onRepair: metrics.repaired,
  });
  return async (halted) => (serversUp() ? driftCheck.check(halted) : undefined);
}

function alertsOf({ servers, announcer, metrics, logger }: TasksOptions): Run {
  const alerts = createAlerts({ store: servers.store, announcer, onSent: metrics.alertSent, logger });
  return (halted) => alerts.run(halted);
}

function retentionOf({ config, servers, metrics, redisNowMs, logger }: TasksOptions): Run {
  const { store } = servers;
  const retention = createRetention({
    ...{ store, logger },
    nowMs: async () => Math.min(await redisNowMs(), await store.nowMs()),
    policy: config.retention,
    exportDirectory: config.exportDirectory,
    onDropped: metrics.dropped,
  });
  return (halted) => retention.run(halted);
}

/** Only collectors of a version that did not count leave a wrong backlog behind. */
function backlogOf({ servers, logger }: TasksOptions): Run {
  return async () => {
    const corrected = await servers.store.correctBacklog();
    if (corrected > 0) logger.warn({ corrected }, 'the backlog differed from the open jobs, and was corrected');
  };
}
