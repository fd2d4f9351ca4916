import type { Consumer, FenceMember } from '@sluice/broker';
import type { Logger, Service } from '@sluice/runtime';
import type { Availability } from './availability.js';
import { createPeriodic } from './periodic.js';
import { createProgressWatch } from './progress.js';

/** A consumer that has held deliveries for so long without settling one is stuck. */
const STUCK_AFTER_MS = 300_000;

export interface MonitoringOptions {
  readonly postgres: Availability;
  readonly redis: Availability;
  readonly consumers: Readonly<Record<'results' | 'dead' | 'unrouted', Consumer>>;
  /** Others can ask this collector what it holds. */
  readonly member: Pick<FenceMember, 'ready'>;
  /** Between two looks, in milliseconds. */
  readonly intervalMs: number;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: () => number;
  readonly logger: Logger;
}

export interface Monitoring extends Service {
  /** False when only a restart would help. */
  live(): boolean;
  /** True when facts that arrive now would be taken into the books now. */
  ready(): boolean;
  /** For operators. */
  detail(): object;
}

/** Looks regularly at the servers the collector needs and at its consumers. */
export function createMonitoring(options: MonitoringOptions): Monitoring {
  const { postgres, redis, member, intervalMs, monotonicMs, logger } = options;
  const { results, dead, unrouted } = options.consumers;
  const consumers = [results, dead, unrouted];
  const attached = (): boolean => consumers.every((consumer) => consumer.attached);
  const serversUp = (): boolean => postgres.up && redis.up;
  const progress = createProgressWatch({ consumers, expected: serversUp, patienceMs: STUCK_AFTER_MS, monotonicMs });

  async function look(): Promise<void> {
    await Promise.all([postgres.check(), redis.check()]);
    progress.observe();
  }

  return {
    ...createPeriodic({ name: 'health', intervalMs, run: look, logger }),
    live: () => !progress.stuck,
    ready: () => attached() && serversUp(),
    detail: () => ({
      postgres: postgres.up,
      redis: redis.up,
      attached: attached(),
      inFlight: { results: results.inFlight, dead: dead.inFlight, unrouted: unrouted.inFlight },
      registered: member.ready,
    }),
  };
}
