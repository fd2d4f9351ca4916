import { setMaxListeners } from 'node:events';
import type { Logger } from '@sluice/runtime';
import type { CallerTraces } from './caller-traces.js';
import type { Metrics } from '@sluice/telemetry';
import type { Catalogue } from './catalogue.js';
import type { GatewayConfig } from './config.js';
import type { Health } from './health.js';
import { createHttpMetrics } from './http-metrics.js';
import type { Jobs } from './jobs.js';
import { createListener, type Listener } from './listener.js';
import { createReplay } from './replay.js';
import { createRequestTraces } from './request-traces.js';
import { createServer } from './server.js';
import type { GatewayServers } from './servers.js';

export interface HttpOptions {
  readonly config: GatewayConfig;
  readonly servers: GatewayServers;
  readonly jobs: Jobs;
  readonly catalogue: Catalogue;
  readonly health: Health;
  readonly metrics: Metrics;
  /** Aborted when the listener is told to end. */
  readonly stopping: AbortController;
  readonly traces: CallerTraces;
  readonly logger: Logger;
}

/** Puts together what tenants and operators reach over HTTP. */
export function createHttp(options: HttpOptions): Listener {
  const { config, servers, jobs, catalogue, health, stopping, logger } = options;
  const draining = stopping.signal;
  // Each request that waits for a job listens to it.
  setMaxListeners(0, draining);
  const { store, quota, waiter } = servers;
  const { authentication, admission, publisher, tenantLimits, loader, clock } = jobs;
  const now = (): number => clock.now();
  const { maxBodyBytes, adminKey, apiKeyPepper: pepper } = config;
  const requestTraces = createRequestTraces(options.traces);
  const server = createServer({
    jobs: {
      ...{ authentication, admission, lookup: jobs.lookup, cancellation: jobs.cancellation, bounds: jobs.bounds },
      ...{ waiter, maxBodyBytes, draining, requestTraces, metrics: jobs.metrics },
      maxWaitMs: config.maxWaitMs,
      maxWaitingPolls: config.maxWaitingPolls,
    },
    jobList: { authentication, store },
    account: { authentication, catalogue, tenantLimits, loader, quota, store, now },
    admin: { store, plans: config.plans, catalogue, adminKey, pepper, maxBodyBytes, now },
    deadLetters: {
      ...{ store, adminKey, pepper, maxBodyBytes, draining, logger },
      replay: createReplay({ store, admission, publisher, now }),
    },
    draining,
    keepAliveTimeoutMs: config.keepAliveTimeoutMs,
    health,
    requestTraces,
    httpMetrics: createHttpMetrics(options.metrics),
    logger,
  });
  const { host, port, shutdownDelayMs } = config;
  return createListener({ server, host, port, shutdownDelayMs, draining: stopping });
}
