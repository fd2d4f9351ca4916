import { availableParallelism } from 'node:os';
import type { ModelsFile, PlansFile } from '@sluice/contracts';
import {
  allConfigured,
  duration,
  openConfigFolder,
  parseEnvironment,
  wholeNumber,
  type ConfigFolder,
} from '@sluice/runtime';
import { tracingEnvironment, type TracingSettings } from '@sluice/telemetry';
import { z } from 'zod';

/** One server, or the seeds of a Redis Cluster. */
const redisUrl = z
  .string()
  .refine(
    (text) => text.split(',').every((url) => /^rediss?:\/\//.test(url.trim()) && URL.canParse(url)),
    'must be a redis:// URL, or several separated by commas',
  );

/** n.b. a job carries its body to a worker, and RabbitMQ 4 takes messages of at most 16 MiB unless told otherwise. */
const MOST_BODY_BYTES = 15 * 2 ** 20;

export const environmentSchema = z.object({
  SLUICE_HOST: z.string().default('127.0.0.1'),
  SLUICE_PORT: wholeNumber(0, 65_535).default(8080),
  /** Where operators and Prometheus look, apart from the tenants' port; off without a port. */
  SLUICE_OPS_HOST: z.string().default('127.0.0.1'),
  SLUICE_OPS_PORT: wholeNumber(0, 65_535).optional(),
  SLUICE_POSTGRES_URL: z.url({ protocol: /^postgres(ql)?$/ }),
  SLUICE_REDIS_URL: redisUrl,
  SLUICE_RABBITMQ_URL: z.url({ protocol: /^amqps?$/ }),
  SLUICE_CONFIG_DIR: z.string().default('config'),
  SLUICE_MODEL_DIR: z.string().default('.local/models'),
  /** How often it is looked whether models.yaml or the model repository has changed; 0: only on SIGHUP. */
  SLUICE_MODEL_POLL: duration().default(5_000),
  SLUICE_KEY_PREFIX: z.string().min(1).default('sluice'),
  SLUICE_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  /** Secret that turns API keys into the hashes PostgreSQL stores; at least 16 characters. */
  SLUICE_API_KEY_PEPPER: z.string().min(16),
  /** Key of the admin API; without it that API answers 403. */
  SLUICE_ADMIN_KEY: z.string().min(16).optional(),
  SLUICE_MAX_WAITING_POLLS: wholeNumber(1, 1_000_000).default(10_000),
  SLUICE_MAX_BODY_BYTES: wholeNumber(1_024, MOST_BODY_BYTES).default(1_048_576),
  SLUICE_MAX_TEXTS: wholeNumber(1, 10_000).default(128),
  /** How long a job may wait and run before it expires. */
  SLUICE_JOB_TTL: duration(1).default(3_600_000),
  SLUICE_IDEMPOTENCY_TTL: duration(1).default(86_400_000),
  SLUICE_PUBLISH_DEADLINE: duration(1).default(5_000),
  SLUICE_PUBLISH_WINDOW: wholeNumber(1, 100_000).default(4_096),
  SLUICE_MAX_WAIT: duration(1).default(60_000),
  /** How long a revoked key may still work. */
  SLUICE_KEY_CACHE_TTL: duration().default(30_000),
  /** How long a request waits for its tenant to be loaded; the load itself goes on. */
  SLUICE_LOAD_WAIT: duration(1).default(3_000),
  SLUICE_PRICE_REFRESH: duration(1).default(30_000),
  /** How often workers are told what time it is for Redis. */
  SLUICE_CLOCK_INTERVAL: duration(1).default(2_000),
  /** Whether this gateway takes submissions of other services from the queue `ingest`. */
  SLUICE_INGEST: z.enum(['on', 'off']).default('on'),
  SLUICE_INGEST_PREFETCH: wholeNumber(1, 1_000).default(32),
  /** What a caller's trace context is to the traces of this suite: something to link to, or what they go on from. */
  SLUICE_TRACE_CALLERS: z.enum(['link', 'follow']).default('link'),
  SLUICE_DRAIN_TIMEOUT: duration(1).default(25_000),
  /** Time between "not ready" and closing the listener: load balancers notice, busy connections get their last answer. */
  SLUICE_SHUTDOWN_DELAY: duration().default(200),
  /** Longer than proxies in front keep a connection for the next request, mostly 60 s: who closes it must be the one that sends. */
  SLUICE_KEEP_ALIVE_TIMEOUT: duration(1).default(75_000),
});

/** With the variables of OpenTelemetry, which all apps share. */
const allVariables = z.intersection(environmentSchema, tracingEnvironment);

/** Where the files are, whatever else is wrong with the environment. */
const folderSchema = environmentSchema.pick({ SLUICE_CONFIG_DIR: true });

export interface GatewayConfig {
  readonly host: string;
  readonly port: number;
  readonly ops: { readonly host: string; readonly port: number | undefined };
  readonly postgresUrl: string;
  readonly redisUrl: string;
  readonly rabbitmqUrl: string;
  readonly modelDir: string;
  readonly modelPollMs: number;
  readonly keyPrefix: string;
  readonly logLevel: string;
  readonly apiKeyPepper: string;
  readonly adminKey: string | undefined;
  readonly maxWaitingPolls: number;
  readonly maxBodyBytes: number;
  readonly maxTexts: number;
  readonly jobTtlMs: number;
  readonly idempotencyTtlMs: number;
  readonly publishDeadlineMs: number;
  readonly publishWindow: number;
  readonly maxWaitMs: number;
  readonly keyCacheTtlMs: number;
  readonly loadWaitMs: number;
  readonly priceRefreshMs: number;
  readonly clockIntervalMs: number;
  readonly ingest: boolean;
  readonly ingestPrefetch: number;
  readonly traceCallers: 'link' | 'follow';
  /** Undefined: nothing is traced. */
  readonly tracing: TracingSettings | undefined;
  readonly drainTimeoutMs: number;
  readonly shutdownDelayMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly poolSize: number;
  readonly models: ModelsFile;
  /** Where `models` is read again. */
  readonly files: Pick<ConfigFolder, 'models' | 'modelsLook'>;
  readonly plans: PlansFile;
}

/**
 * Reads the environment and the files it names. This is the only place of the gateway that does.
 *
 * @throws ConfigError with every problem of the environment and the files.
 */
export async function loadConfig(environment: NodeJS.ProcessEnv): Promise<GatewayConfig> {
  const { SLUICE_CONFIG_DIR: directory } = parseEnvironment(folderSchema, environment);
  const files = openConfigFolder(directory, environment);
  const [settings, models, plans] = await allConfigured([
    () => parseEnvironment(allVariables, environment),
    files.models(),
    files.plans(),
  ]);
  return Object.freeze({
    host: settings.SLUICE_HOST,
    port: settings.SLUICE_PORT,
    ops: { host: settings.SLUICE_OPS_HOST, port: settings.SLUICE_OPS_PORT },
    postgresUrl: settings.SLUICE_POSTGRES_URL,
    redisUrl: settings.SLUICE_REDIS_URL,
    rabbitmqUrl: settings.SLUICE_RABBITMQ_URL,
    modelDir: settings.SLUICE_MODEL_DIR,
    modelPollMs: settings.SLUICE_MODEL_POLL,
    keyPrefix: settings.SLUICE_KEY_PREFIX,
    logLevel: settings.SLUICE_LOG_LEVEL,
    apiKeyPepper: settings.SLUICE_API_KEY_PEPPER,
    adminKey: settings.SLUICE_ADMIN_KEY,
    maxWaitingPolls: settings.SLUICE_MAX_WAITING_POLLS,
    maxBodyBytes: settings.SLUICE_MAX_BODY_BYTES,
    maxTexts: settings.SLUICE_MAX_TEXTS,
    jobTtlMs: settings.SLUICE_JOB_TTL,
    idempotencyTtlMs: settings.SLUICE_IDEMPOTENCY_TTL,
    publishDeadlineMs: settings.SLUICE_PUBLISH_DEADLINE,
    publishWindow: settings.SLUICE_PUBLISH_WINDOW,
    maxWaitMs: settings.SLUICE_MAX_WAIT,
    keyCacheTtlMs: settings.SLUICE_KEY_CACHE_TTL,
    loadWaitMs: settings.SLUICE_LOAD_WAIT,
    priceRefreshMs: settings.SLUICE_PRICE_REFRESH,
    clockIntervalMs: settings.SLUICE_CLOCK_INTERVAL,
    ingest: settings.SLUICE_INGEST === 'on',
    ingestPrefetch: settings.SLUICE_INGEST_PREFETCH,
    traceCallers: settings.SLUICE_TRACE_CALLERS,
    tracing: settings.tracing,
    drainTimeoutMs: settings.SLUICE_DRAIN_TIMEOUT,
    shutdownDelayMs: settings.SLUICE_SHUTDOWN_DELAY,
    keepAliveTimeoutMs: settings.SLUICE_KEEP_ALIVE_TIMEOUT,
    poolSize: Math.max(4, availableParallelism()),
    models,
    files,
    plans,
  });
}
