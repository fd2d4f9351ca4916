import { describe, expect, it } from '@jest/globals';
import { readConfig } from './config.js';

const servers = {
  SLUICE_POSTGRES_URL: 'postgres://localhost/sluice',
  SLUICE_REDIS_URL: 'redis://localhost',
  SLUICE_RABBITMQ_URL: 'amqp://localhost',
};

describe('readConfig', () => {
  it('needs nothing but the servers', () => {
    expect(readConfig(servers)).toMatchObject({ maxBatch: 500, lingerMs: 5, batchesInProgress: 2, opsPort: undefined });
  });

  it('reads durations with their unit', () => {
    const config = readConfig({ ...servers, SLUICE_SWEEP_INTERVAL: '2m', SLUICE_DRAIN_TIMEOUT: '1500' });
    expect(config).toMatchObject({ sweepIntervalMs: 120_000, drainTimeoutMs: 1_500 });
  });

  it('reports every problem by the name of its variable', () => {
    const read = () => readConfig({ ...servers, SLUICE_POSTGRES_URL: '', SLUICE_BATCH_MAX: '0' });
    expect(read).toThrow(/SLUICE_POSTGRES_URL: is missing[^]*SLUICE_BATCH_MAX: /);
  });
});
