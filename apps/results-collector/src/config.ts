import { durationMs, parseEnvironment, wholeNumber } from '@sluice/runtime';
import { z } from 'zod';

const HOUR_MS = 3_600_000;

/** Settings of the collector by environment variable; durations are written like `15s` and become milliseconds. */
export const environmentSchema = z.object({
  SLUICE_POSTGRES_URL: z.url(),
  SLUICE_REDIS_URL: z.url(),
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
  /**
   * How long a hold in Redis must have been expired, and how long the results queue must have been flowing, before
   * a sweep touches anything: facts that are on their way come first. Below 10 s a failure that is only tried again
   * after the longest wait (5 s) could look like quiet.
   */
  SLUICE_SWEEP_GRACE: durationMs.default(60_000),
  SLUICE_MAINTENANCE_INTERVAL: durationMs.default(HOUR_MS),
  /** How often PostgreSQL and Redis are asked whether they answer. */
  SLUICE_HEALTH_INTERVAL: durationMs.default(2_000),
});

export type Config = ReturnType<typeof readConfig>;

/**
 * Reads the environment.
 *
 * @throws ConfigError listing every problem.
 */
export function readConfig(environment: NodeJS.ProcessEnv) {
  const env = parseEnvironment(environmentSchema, environment);
  return Object.freeze({
    postgresUrl: env.SLUICE_POSTGRES_URL,
    redisUrl: env.SLUICE_REDIS_URL,
    rabbitmqUrl: env.SLUICE_RABBITMQ_URL,
    keyPrefix: env.SLUICE_KEY_PREFIX,
    logLevel: env.SLUICE_LOG_LEVEL,
    opsHost: env.SLUICE_OPS_HOST,
    opsPort: env.SLUICE_OPS_PORT,
    drainTimeoutMs: env.SLUICE_DRAIN_TIMEOUT,
    maxBatch: env.SLUICE_BATCH_MAX,
    lingerMs: env.SLUICE_BATCH_LINGER,
    batchesInProgress: env.SLUICE_BATCHES_IN_PROGRESS,
    sweepIntervalMs: env.SLUICE_SWEEP_INTERVAL,
    sweepGraceMs: env.SLUICE_SWEEP_GRACE,
    maintenanceIntervalMs: env.SLUICE_MAINTENANCE_INTERVAL,
    healthIntervalMs: env.SLUICE_HEALTH_INTERVAL,
  });
}
