import { days, duration, durationMs, parseEnvironment, wholeNumber } from '@sluice/runtime';
import { tracingEnvironment } from '@sluice/telemetry';
import { z } from 'zod';

const HOUR_MS = 3_600_000;

/** One server, or the seeds of a Redis Cluster. */
export const redisUrl = z
  .string()
  .refine(
    (text) => text.split(',').every((url) => /^rediss?:\/\//.test(url) && URL.canParse(url)),
    'must be a redis:// URL, or several separated by commas',
  );

const variables = z.object({
  SLUICE_POSTGRES_URL: z.url(),
  SLUICE_REDIS_URL: redisUrl,
  SLUICE_RABBITMQ_URL: z.url(),
  /** First part of every Redis key. */
  SLUICE_KEY_PREFIX: z.string().min(1).default('sluice'),
  SLUICE_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  SLUICE_OPS_HOST: z.string().default('127.0.0.1'),
  /** The ops server is off when absent. */
  SLUICE_OPS_PORT: wholeNumber(0, 65_535).optional(),
  SLUICE_DRAIN_TIMEOUT: durationMs.default(25_000),
  /** Facts in one transaction. */
  SLUICE_BATCH_MAX: wholeNumber(1, 5_000).default(500),
  /** How long the first fact of a batch waits for others. */
  SLUICE_BATCH_LINGER: durationMs.default(5),
  SLUICE_BATCHES_IN_PROGRESS: wholeNumber(1, 16).default(2),
  SLUICE_SWEEP_INTERVAL: durationMs.default(15_000),
  /** How long a hold in Redis must have been expired before a sweep releases it. */
  SLUICE_SWEEP_GRACE: durationMs.default(60_000),
  /** How long a sweep waits until facts that are on their way are recorded. */
  SLUICE_FENCE_TIMEOUT: duration(100).default(10_000),
  /** How often Redis is compared with the books. */
  SLUICE_DRIFT_INTERVAL: duration(1).default(60_000),
  /** How often quotas are compared with their alert thresholds. */
  SLUICE_ALERT_INTERVAL: duration(1).default(30_000),
  /** Which events are published. */
  SLUICE_EVENTS: z.enum(['none', 'terminal', 'all']).default('terminal'),
  SLUICE_MAINTENANCE_INTERVAL: durationMs.default(HOUR_MS),
  /** How often PostgreSQL and Redis are asked whether they answer. */
  SLUICE_HEALTH_INTERVAL: durationMs.default(2_000),
  /** How long outputs, jobs, ledger entries and dead letters are kept, such as `90d`; for ever when absent. */
  SLUICE_RETENTION_RESULTS: days().optional(),
  SLUICE_RETENTION_JOBS: days().optional(),
  SLUICE_RETENTION_LEDGER: days().optional(),
  SLUICE_RETENTION_DEAD_LETTERS: days().optional(),
  /** Where months are exported to before they are dropped; nothing is exported when absent. */
  SLUICE_EXPORT_DIR: z.string().optional(),
});

/**
 * Settings of the collector by environment variable; durations are written like `15s` and become milliseconds. The
 * ledger is never dropped without an export, nor before the jobs it tells of: they would look as if they were open.
 */
export const environmentSchema = variables.superRefine((env, context) => {
  const { SLUICE_RETENTION_LEDGER: ledger, SLUICE_RETENTION_JOBS: jobs, SLUICE_EXPORT_DIR: directory } = env;
  if (ledger === undefined) return;
  const refuse = (variable: string, message: string): void =>
    context.addIssue({ code: 'custom', path: [variable], message });
  if (directory === undefined) refuse('SLUICE_EXPORT_DIR', 'is needed with SLUICE_RETENTION_LEDGER');
  if (jobs === undefined) refuse('SLUICE_RETENTION_JOBS', 'is needed with SLUICE_RETENTION_LEDGER');
  else if (jobs > ledger) refuse('SLUICE_RETENTION_JOBS', 'must not be longer than SLUICE_RETENTION_LEDGER');
});

/** With the variables of OpenTelemetry, which all apps share. */
const allVariables = z.intersection(environmentSchema, tracingEnvironment);

export type Config = ReturnType<typeof readConfig>;

/**
 * Reads the environment.
 *
 * @throws ConfigError listing every problem.
 */
export function readConfig(environment: NodeJS.ProcessEnv) {
  const env = parseEnvironment(allVariables, environment);
  return Object.freeze({
    postgresUrl: env.SLUICE_POSTGRES_URL,
    redisUrl: env.SLUICE_REDIS_URL,
    rabbitmqUrl: env.SLUICE_RABBITMQ_URL,
    keyPrefix: env.SLUICE_KEY_PREFIX,
    logLevel: env.SLUICE_LOG_LEVEL,
    opsHost: env.SLUICE_OPS_HOST,
    opsPort: env.SLUICE_OPS_PORT,
    drainTimeoutMs: env.SLUICE_DRAIN_TIMEOUT,
    /** Undefined: nothing is traced. */
    tracing: env.tracing,
    maxBatch: env.SLUICE_BATCH_MAX,
    lingerMs: env.SLUICE_BATCH_LINGER,
    batchesInProgress: env.SLUICE_BATCHES_IN_PROGRESS,
    sweepIntervalMs: env.SLUICE_SWEEP_INTERVAL,
    sweepGraceMs: env.SLUICE_SWEEP_GRACE,
    fenceTimeoutMs: env.SLUICE_FENCE_TIMEOUT,
    driftIntervalMs: env.SLUICE_DRIFT_INTERVAL,
    alertIntervalMs: env.SLUICE_ALERT_INTERVAL,
    events: env.SLUICE_EVENTS,
    retention: {
      resultsMs: env.SLUICE_RETENTION_RESULTS,
      jobsMs: env.SLUICE_RETENTION_JOBS,
      ledgerMs: env.SLUICE_RETENTION_LEDGER,
      deadLettersMs: env.SLUICE_RETENTION_DEAD_LETTERS,
    },
    exportDirectory: env.SLUICE_EXPORT_DIR,
    maintenanceIntervalMs: env.SLUICE_MAINTENANCE_INTERVAL,
    healthIntervalMs: env.SLUICE_HEALTH_INTERVAL,
  });
}
