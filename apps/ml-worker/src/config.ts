import { availableParallelism, hostname } from 'node:os';
import { nameSchema, type JobClass, type ModelsFile } from '@sluice/contracts';
import type { ExecutionProvider } from '@sluice/models/session';
import {
  allConfigured,
  bytes,
  ConfigError,
  duration,
  durationMs,
  openConfigFolder,
  parseEnvironment,
  wholeNumber,
  type ConfigFolder,
} from '@sluice/runtime';
import { tracingEnvironment, type TracingSettings } from '@sluice/telemetry';
import { z } from 'zod';
import type { BatchLimits } from './scheduling/batching.js';
import { CALIBRATION_MODES, type CalibrationOptions } from './scheduling/calibration.js';

const MEBIBYTE = 2 ** 20;

export const environmentSchema = z.object({
  SLUICE_RABBITMQ_URL: z.url({ protocol: /^amqps?$/ }),
  SLUICE_CONFIG_DIR: z.string().default('config'),
  SLUICE_MODEL_DIR: z.string().default('.local/models'),
  /** How often it is looked whether models.yaml or the model repository has changed; 0: only on SIGHUP. */
  SLUICE_MODEL_POLL: durationMs.default(5_000),
  /** The pool of models.yaml that this worker serves; may be absent when there is only one. */
  SLUICE_POOL: nameSchema.optional(),
  /** For people: names the worker in logs and at the broker. */
  SLUICE_WORKER_ID: z.string().max(63).optional(),
  /** Cores ÷ threads when absent. Counts the machine's cores, not a container's CPU limit: set it there. */
  SLUICE_INFERENCE_PROCESSES: wholeNumber(1, 256).optional(),
  /** Threads, and so cores, of each inference process. When both are absent calibration finds what is fastest; else 1. */
  SLUICE_INFERENCE_THREADS: wholeNumber(1, 256).optional(),
  /** Resident memory of an inference process beyond which it is ended; any when absent. */
  SLUICE_INFERENCE_MEMORY: bytes(MEBIBYTE).optional(),
  /** Most bytes of the tensors that a job gives. More, and it fails. */
  SLUICE_MAX_OUTPUT_BYTES: wholeNumber(1_024, 8_388_608).default(1_048_576),
  /** What runs the models. */
  SLUICE_EXECUTION_PROVIDER: z.enum(['cpu', 'cuda']).default('cpu'),
  /** Number of the graphics card that `cuda` uses. */
  SLUICE_CUDA_DEVICE: wholeNumber(0, 255).default(0),
  /** An inference process that takes longer to load and warm its models is ended. */
  SLUICE_INFERENCE_LOAD_TIMEOUT: duration(10).default(120_000),
  SLUICE_INFERENCE_TIMEOUT: duration(10).default(30_000),
  /** Most jobs taken from a class's queue and not yet answered. More make better batches, fewer spread better. */
  SLUICE_PREFETCH_INTERACTIVE: wholeNumber(1, 10_000).default(64),
  SLUICE_PREFETCH_STANDARD: wholeNumber(1, 10_000).default(128),
  SLUICE_PREFETCH_BATCH: wholeNumber(1, 10_000).default(128),
  /** Most bytes of the jobs of a class in hand, as they travel; the others wait at the broker. */
  SLUICE_MAX_HELD_BYTES: bytes(MEBIBYTE).default(64 * MEBIBYTE),
  // Bounds of batches, within which what runs of the model cost decides. Those of a model in models.yaml come first.
  /** Longest text × texts of a run. */
  SLUICE_BATCH_MAX_TOKENS: wholeNumber(1, 1_000_000).default(16_384),
  /** Padding of a run as a share of its tokens. */
  SLUICE_BATCH_MAX_PADDING: z.coerce.number().min(0).max(0.99).default(0.5),
  /** Longest that several texts may be predicted to take together. */
  SLUICE_BATCH_TARGET_LATENCY: duration(1).default(50),
  /** How long a text of the classes standard and batch waits for company while a process is idle. */
  SLUICE_BATCH_MAX_DELAY: durationMs.default(2),
  /** What runs of a model cost: `auto` measures what no file tells, `always` everything at each start, `off` nothing. */
  SLUICE_CALIBRATION: z.enum(CALIBRATION_MODES).default('auto'),
  /** Where it is kept. */
  SLUICE_CALIBRATION_DIR: z.string().default('.local/calibration'),
  /** How long a run that only cancelled jobs are part of may go on before its process is ended. */
  SLUICE_CANCEL_GRACE: durationMs.default(250),
  SLUICE_PUBLISH_DEADLINE: duration(10).default(10_000),
  /** A worker with jobs in hand that finishes none for this long is not live. */
  SLUICE_STALL_TIMEOUT: duration(1_000).default(300_000),
  SLUICE_DRAIN_TIMEOUT: durationMs.default(25_000),
  SLUICE_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  SLUICE_OPS_HOST: z.string().default('127.0.0.1'),
  SLUICE_OPS_PORT: wholeNumber(0, 65_535).optional(),
});

/** With the variables of OpenTelemetry, which all apps share. */
const allVariables = z.intersection(environmentSchema, tracingEnvironment);

/** Where the file is, whatever else is wrong with the environment. */
const folderSchema = environmentSchema.pick({ SLUICE_CONFIG_DIR: true });

export interface WorkerConfig {
  readonly rabbitmqUrl: string;
  readonly pool: string;
  readonly workerId: string;
  readonly modelDirectory: string;
  readonly modelsFile: ModelsFile;
  /** Where `modelsFile` is read again. */
  readonly files: Pick<ConfigFolder, 'models' | 'modelsLook'>;
  readonly modelPollMs: number;
  readonly prefetch: Readonly<Record<JobClass, number>>;
  /** Of each class. */
  readonly maxHeldBytes: number;
  readonly batch: BatchLimits;
  readonly calibration: Pick<CalibrationOptions, 'mode' | 'directory'>;
  readonly inference: {
    readonly processes: number;
    readonly threads: number;
    /** Whether another division of the cores may be better than the two above. */
    readonly mayBeDivided: boolean;
    readonly provider: ExecutionProvider;
    readonly timeoutMs: number;
    readonly loadTimeoutMs: number;
    readonly memoryLimitBytes: number | undefined;
    readonly maxOutputBytes: number;
    /** Environment of the inference processes: this one without the variables that may hold secrets. */
    readonly environment: Readonly<NodeJS.ProcessEnv>;
  };
  readonly cancelGraceMs: number;
  readonly publishTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** Undefined: nothing is traced. */
  readonly tracing: TracingSettings | undefined;
  readonly logLevel: string;
  readonly ops: { readonly host: string; readonly port: number | undefined };
}

/**
 * Reads the environment and `models.yaml`.
 *
 * @throws ConfigError with every problem of both.
 */
export async function loadConfig(environment: NodeJS.ProcessEnv): Promise<WorkerConfig> {
  const { SLUICE_CONFIG_DIR: directory } = parseEnvironment(folderSchema, environment);
  const files = openConfigFolder(directory, environment);
  const [settings, modelsFile] = await allConfigured([
    () => parseEnvironment(allVariables, environment),
    files.models(),
  ]);
  return {
    rabbitmqUrl: settings.SLUICE_RABBITMQ_URL,
    pool: poolOf(settings.SLUICE_POOL, modelsFile),
    workerId: settings.SLUICE_WORKER_ID ?? `${hostname()}-${process.pid}`,
    modelDirectory: settings.SLUICE_MODEL_DIR,
    modelsFile,
    files,
    modelPollMs: settings.SLUICE_MODEL_POLL,
    prefetch: {
      interactive: settings.SLUICE_PREFETCH_INTERACTIVE,
      standard: settings.SLUICE_PREFETCH_STANDARD,
      batch: settings.SLUICE_PREFETCH_BATCH,
    },
    maxHeldBytes: settings.SLUICE_MAX_HELD_BYTES,
    batch: {
      maxTokens: settings.SLUICE_BATCH_MAX_TOKENS,
      maxPadding: settings.SLUICE_BATCH_MAX_PADDING,
      maxDelayMs: settings.SLUICE_BATCH_MAX_DELAY,
      targetLatencyMs: settings.SLUICE_BATCH_TARGET_LATENCY,
    },
    calibration: { mode: settings.SLUICE_CALIBRATION, directory: settings.SLUICE_CALIBRATION_DIR },
    inference: {
      ...splitOf(settings),
      provider: providerOf(settings),
      memoryLimitBytes: settings.SLUICE_INFERENCE_MEMORY,
      maxOutputBytes: settings.SLUICE_MAX_OUTPUT_BYTES,
      timeoutMs: settings.SLUICE_INFERENCE_TIMEOUT,
      loadTimeoutMs: settings.SLUICE_INFERENCE_LOAD_TIMEOUT,
      environment: withoutSecrets(environment),
    },
    cancelGraceMs: settings.SLUICE_CANCEL_GRACE,
    publishTimeoutMs: settings.SLUICE_PUBLISH_DEADLINE,
    stallTimeoutMs: settings.SLUICE_STALL_TIMEOUT,
    drainTimeoutMs: settings.SLUICE_DRAIN_TIMEOUT,
    tracing: settings.tracing,
    logLevel: settings.SLUICE_LOG_LEVEL,
    ops: { host: settings.SLUICE_OPS_HOST, port: settings.SLUICE_OPS_PORT },
  };
}

function poolOf(wanted: string | undefined, { pools }: ModelsFile): string {
  const [only, ...others] = Object.keys(pools);
  const pool = wanted ?? (others.length === 0 ? only : undefined);
  if (pool !== undefined && pool in pools) return pool;
  throw new ConfigError('The environment has problems', [
    `SLUICE_POOL: must be one of the pools of models.yaml (${Object.keys(pools).join(', ')})`,
  ]);
}

/** n.b. a graphics card has no use for the processor's threads. */
function splitOf(settings: z.output<typeof environmentSchema>) {
  const {
    SLUICE_INFERENCE_PROCESSES: processes,
    SLUICE_INFERENCE_THREADS: threads,
    SLUICE_EXECUTION_PROVIDER: provider,
  } = settings;
  return {
    processes: processes ?? Math.max(1, Math.floor(availableParallelism() / (threads ?? 1))),
    threads: threads ?? 1,
    mayBeDivided: processes === undefined && threads === undefined && provider === 'cpu',
  };
}

function providerOf(settings: z.output<typeof environmentSchema>): ExecutionProvider {
  const name = settings.SLUICE_EXECUTION_PROVIDER;
  return name === 'cuda' ? { name, deviceId: settings.SLUICE_CUDA_DEVICE } : { name };
}

/** n.b. the headers that go to a collector of traces often hold a key. */
function withoutSecrets(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !/^(SLUICE|OTEL)_/.test(name)));
}
