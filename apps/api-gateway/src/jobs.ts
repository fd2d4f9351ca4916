import { randomUUID } from 'node:crypto';
import {
  createFence,
  createFenceMember,
  createPublisher,
  type BrokerConnection,
  type BrokerMetrics,
  type FenceRegistry,
} from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import type { Metrics } from '@sluice/telemetry';
import { createAbandonedHolds } from './abandoned-holds.js';
import { createAdmission } from './admission.js';
import { createAuthentication } from './authentication.js';
import { createCancellation } from './cancellation.js';
import type { Catalogue } from './catalogue.js';
import { createClockNotices } from './clock-notices.js';
import type { GatewayConfig } from './config.js';
import { createFlights } from './flights.js';
import { createGatewayMetrics } from './gateway-metrics.js';
import { createHoldingAnswers } from './holding-answers.js';
import { createJobClock } from './job-clock.js';
import { createJobLookup } from './job-lookup.js';
import { createJobMessages } from './job-message.js';
import { createJobPublisher } from './job-publisher.js';
import { createLearnedEstimates } from './learned-estimates.js';
import { createPriceBook } from './price-book.js';
import { createProducers } from './producers.js';
import { createRepeatedRequests } from './repeated-requests.js';
import type { GatewayServers } from './servers.js';
import { createTenantLimits } from './tenant-limits.js';
import { createTenantLoader } from './tenant-loader.js';

const FENCE_TIMEOUT_MS = 10_000;

export interface JobsOptions {
  readonly config: GatewayConfig;
  readonly catalogue: Catalogue;
  readonly servers: GatewayServers;
  /** Publishes. */
  readonly connection: BrokerConnection;
  readonly metrics: Metrics;
  readonly broker: BrokerMetrics;
  readonly logger: Logger;
}

/** Everything between the ways in (HTTP, AMQP) and the servers. */
export type Jobs = ReturnType<typeof createJobs>;

/** Puts together how jobs are admitted, found and cancelled. */
export function createJobs(options: JobsOptions) {
  const { config, catalogue, servers, connection, broker, logger } = options;
  const { store, quota, waiter, redis } = servers;
  const { idempotencyTtlMs } = config;
  const clock = createJobClock();
  const now = (): number => clock.now();
  const publisher = createPublisher({
    connection,
    logger,
    deadlineMs: config.publishDeadlineMs,
    maxInFlight: config.publishWindow,
    observer: broker.observer('jobs'),
  });
  const metrics = createGatewayMetrics(options.metrics);
  const flights = createFlights();
  const registry: FenceRegistry = {
    register: (facts) => store.registerFenceMember(facts),
    members: () => store.fenceMembers(),
    forget: (memberId) => store.forgetFenceMember(memberId),
  };
  const member = createFenceMember({
    connection,
    publisher,
    memberId: randomUUID(),
    role: 'gateway',
    registry,
    async onDrain() {
      await flights.drain();
      await publisher.barrier();
    },
    logger,
  });
  const fence = createFence({ connection, publisher, registry, timeoutMs: FENCE_TIMEOUT_MS, logger });

  const principals = { store, cacheTtlMs: config.keyCacheTtlMs, now };
  const tenantLimits = createTenantLimits({ plans: config.plans, now });
  const estimates = createLearnedEstimates();
  const prices = createPriceBook({ store, refreshMs: config.priceRefreshMs, logger });
  const abandoned = createAbandonedHolds({ quota, metrics, logger });
  metrics.watch({ flights, abandoned });
  const models = (): readonly string[] => catalogue.models.map(({ name }) => name);
  const loader = createTenantLoader({
    ...{ tenantLimits, models, quota, store, fence, now, idempotencyTtlMs, metrics, logger },
    waitMs: config.loadWaitMs,
  });
  const admission = createAdmission({
    ...{ catalogue, tenantLimits, loader, estimates, clock, quota, flights, abandoned, idempotencyTtlMs, metrics },
    messages: createJobMessages({ clock, prices, estimates, tenantLimits, jobTtlMs: config.jobTtlMs }),
    jobPublisher: createJobPublisher({ connection, publisher, member }),
    repeated: createRepeatedRequests({ quota, store, clock, idempotencyTtlMs, logger }),
  });
  const lookup = createJobLookup({ quota, store, now });
  const answers = createHoldingAnswers({ connection, logger });

  return {
    clockNotices: createClockNotices({ redis, clock, publisher, intervalMs: config.clockIntervalMs, logger }),
    ...{ clock, publisher, member, fence, tenantLimits, prices, abandoned, loader, answers, metrics },
    authentication: createAuthentication({ ...principals, pepper: config.apiKeyPepper }),
    producers: createProducers(principals),
    admission,
    lookup,
    cancellation: createCancellation({ lookup, publisher, waiter, answers, now }),
    /** What a submission may ask for. */
    bounds: { maxTexts: config.maxTexts, maxTensorBytes: config.maxBodyBytes, jobTtlMs: config.jobTtlMs },
  };
}
