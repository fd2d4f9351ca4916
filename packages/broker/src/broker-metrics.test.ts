import { expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createMetrics } from '@sluice/telemetry';
import { createBrokerMetrics } from './broker-metrics.js';
import type { ConnectionState } from './connection.js';

function linesOf(page: string): readonly string[] {
  return page.split('\n').filter((line) => /^\w/.test(line));
}

it('counts what becomes of publishes, by publisher and code', () => {
  const metrics = createMetrics();
  const observer = createBrokerMetrics(metrics).observer('jobs');
  observer.confirmed(7);
  observer.confirmed(2_000);
  observer.failed(new ServiceError('broker_unavailable', 'Not now.'));
  observer.failed(new TypeError('of our own'));
  expect(linesOf(metrics.render())).toEqual(
    expect.arrayContaining([
      'sluice_publish_duration_seconds_bucket{publisher="jobs",le="0.005"} 0',
      'sluice_publish_duration_seconds_bucket{publisher="jobs",le="0.01"} 1',
      'sluice_publish_duration_seconds_count{publisher="jobs"} 2',
      'sluice_publish_failures_total{code="broker_unavailable",publisher="jobs"} 1',
      'sluice_publish_failures_total{code="internal",publisher="jobs"} 1',
    ]),
  );
});

it('shows connections as they are, and counts each time that one came back', () => {
  const metrics = createMetrics();
  const connection: { state: ConnectionState; generation: number } = { state: 'disconnected', generation: 0 };
  const publisher = { inFlight: 3 };
  createBrokerMetrics(metrics).watch({ connections: { publish: connection }, publishers: { jobs: publisher } });
  const shown = (): readonly string[] =>
    linesOf(metrics.render()).map((line) => line.replace(/^sluice_broker_|\{.*\}/g, ''));
  expect(shown()).toEqual(['sluice_publishes_in_flight 3', 'connected 0', 'blocked 0', 'reconnects_total 0']);
  Object.assign(connection, { state: 'connected', generation: 1 });
  expect(shown()).toContain('reconnects_total 0');
  Object.assign(connection, { state: 'blocked', generation: 3 });
  publisher.inFlight = 0;
  expect(shown()).toEqual(['sluice_publishes_in_flight 0', 'connected 1', 'blocked 1', 'reconnects_total 2']);
  expect(shown()).toContain('reconnects_total 2');
});
