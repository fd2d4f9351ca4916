import type { PlansFile } from '@sluice/contracts';
import type { GatewayConfig } from '@sluice/api-gateway/composition';
import type { WorkerConfig } from '@sluice/ml-worker/composition';
import type { CollectorConfig } from '@sluice/results-collector/composition';
import { PEPPER } from '../scenario/tenants.js';
import { modelsFile, servedPool } from './models.js';

const URLS = { postgresUrl: 'postgres://sim', redisUrl: 'redis://sim', rabbitmqUrl: 'amqp://sim' };
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
/** How long an app that was told to end may take. */
export const DRAIN_TIMEOUT_MS = 25 * SECOND_MS;
/** How long a job may wait and run. */
export const JOB_TTL_MS = 20 * SECOND_MS;

/** Never read again. */
const files = { models: async () => modelsFile, modelsLook: async () => '' };

/** As in production, but for intervals of what is idle, which are longer: each costs events. */
export function gatewayConfig(plans: PlansFile): GatewayConfig {
  return {
    ...URLS,
    ...{ host: '', port: 0, modelDir: '', keyPrefix: 'sim', logLevel: 'silent', adminKey: undefined },
    ops: { host: '', port: undefined },
    apiKeyPepper: PEPPER,
    ...{ maxWaitingPolls: 1_000, maxBodyBytes: 65_536, maxTexts: 16, ingestPrefetch: 32, poolSize: 4 },
    jobTtlMs: JOB_TTL_MS,
    idempotencyTtlMs: 24 * 60 * MINUTE_MS,
    publishDeadlineMs: 5 * SECOND_MS,
    publishWindow: 64,
    maxWaitMs: MINUTE_MS,
    keyCacheTtlMs: 30 * SECOND_MS,
    loadWaitMs: 3 * SECOND_MS,
    priceRefreshMs: 10 * MINUTE_MS,
    clockIntervalMs: 4 * SECOND_MS,
    ingest: false,
    ...{ traceCallers: 'link', tracing: undefined },
    drainTimeoutMs: DRAIN_TIMEOUT_MS,
    shutdownDelayMs: 0,
    keepAliveTimeoutMs: 75 * SECOND_MS,
    ...{ models: modelsFile, files, modelPollMs: 0 },
    plans,
  };
}

export const collectorConfig: CollectorConfig = {
  ...URLS,
  ...{ keyPrefix: 'sim', logLevel: 'silent', opsHost: '', opsPort: undefined, exportDirectory: undefined },
  drainTimeoutMs: DRAIN_TIMEOUT_MS,
  ...{ maxBatch: 10, lingerMs: 5, batchesInProgress: 2 },
  sweepIntervalMs: 8 * SECOND_MS,
  sweepGraceMs: 60 * SECOND_MS,
  fenceTimeoutMs: 10 * SECOND_MS,
  driftIntervalMs: MINUTE_MS,
  alertIntervalMs: 60 * MINUTE_MS,
  events: 'none',
  retention: { resultsMs: undefined, jobsMs: undefined, ledgerMs: undefined, deadLettersMs: undefined },
  maintenanceIntervalMs: 60 * MINUTE_MS,
  healthIntervalMs: 8 * SECOND_MS,
  tracing: undefined,
};

export function workerConfig(workerId: string): WorkerConfig {
  return {
    ...{ rabbitmqUrl: URLS.rabbitmqUrl, pool: servedPool.pool, workerId, modelDirectory: '', modelsFile },
    ...{ files, modelPollMs: 0, tracing: undefined },
    prefetch: { interactive: 4, standard: 4, batch: 4 },
    maxHeldBytes: 2 ** 26,
    batch: { maxTokens: 128, maxPadding: 0.5, maxDelayMs: 2, targetLatencyMs: 50 },
    calibration: { mode: 'off', directory: '' },
    inference: {
      ...{ processes: 2, threads: 1, mayBeDivided: false, provider: { name: 'cpu' } },
      ...{
        timeoutMs: 3 * SECOND_MS,
        loadTimeoutMs: 3 * SECOND_MS,
        memoryLimitBytes: undefined,
        maxOutputBytes: 65_536,
        environment: {},
      },
    },
    cancelGraceMs: 250,
    publishTimeoutMs: 10 * SECOND_MS,
    stallTimeoutMs: 5 * MINUTE_MS,
    drainTimeoutMs: DRAIN_TIMEOUT_MS,
    logLevel: 'silent',
    ops: { host: '', port: undefined },
  };
}
