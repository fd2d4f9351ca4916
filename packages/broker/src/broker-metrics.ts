import { isServiceError } from '@sluice/contracts';
import { DURATION_BOUNDS, type Metrics } from '@sluice/telemetry';
import type { BrokerConnection } from './connection.js';
import type { Publisher, PublishObserver } from './publisher.js';

/** What is shown of RabbitMQ, by names that operators know the connections and publishers by. */
export interface BrokerMetrics {
  /** What a publisher is to tell of its publishes. */
  observer(publisher: string): PublishObserver;
  /** Shows connections and publishers when somebody asks; to be called once. */
  watch(watched: Watched): void;
}

export interface Watched {
  readonly connections: Readonly<Record<string, Pick<BrokerConnection, 'state' | 'generation'>>>;
  readonly publishers: Readonly<Record<string, Pick<Publisher, 'inFlight'>>>;
}

export function createBrokerMetrics(metrics: Metrics): BrokerMetrics {
  const took = metrics.histogram(
    'sluice_publish_duration_seconds',
    'Time from a publish to its confirm by the broker.',
    DURATION_BOUNDS,
    ['publisher'],
  );
  const failures = metrics.counter(
    'sluice_publish_failures_total',
    'Publishes that were not confirmed, by error code.',
    ['publisher', 'code'],
  );
  const inFlight = metrics.gauge('sluice_publishes_in_flight', 'Publishes without an answer of the broker.', [
    'publisher',
  ]);
  const connected = metrics.gauge(
    'sluice_broker_connected',
    '1 while a connection is open, also while it is blocked.',
    ['connection'],
  );
  const blocked = metrics.gauge('sluice_broker_blocked', '1 while the broker takes no publishes on a connection.', [
    'connection',
  ]);
  const reconnects = metrics.counter(
    'sluice_broker_reconnects_total',
    'Times that a lost connection was opened again.',
    ['connection'],
  );

  return {
    observer(publisher) {
      const confirms = took.of({ publisher });
      return {
        confirmed: (ms) => confirms.observe(ms / 1000),
        failed: (error) => failures.of({ publisher, code: isServiceError(error) ? error.code : 'internal' }).add(),
      };
    },
    watch({ connections, publishers }) {
      const generations = new Map<string, number>();
      metrics.beforeRender(() => {
        for (const [connection, { state, generation }] of Object.entries(connections)) {
          connected.of({ connection }).set(Number(state !== 'disconnected'));
          blocked.of({ connection }).set(Number(state === 'blocked'));
          // n.b. the first opening is none that was lost before.
          const before = Math.max(1, generations.get(connection) ?? 1);
          reconnects.of({ connection }).add(generation - before);
          generations.set(connection, generation);
        }
        for (const [publisher, each] of Object.entries(publishers)) inFlight.of({ publisher }).set(each.inFlight);
      });
    },
  };
}
