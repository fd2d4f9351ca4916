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

  it('takes one Redis or the seeds of a cluster', () => {
    const read = (url: string) => readConfig({ ...servers, SLUICE_REDIS_URL: url }).redisUrl;
    expect(read('redis://a:1,rediss://b:2')).toBe('redis://a:1,rediss://b:2');
    expect(() => read('http://a')).toThrow('SLUICE_REDIS_URL: must be a redis:// URL');
    expect(() => read('redis://a:1,')).toThrow('SLUICE_REDIS_URL: must be a redis:// URL');
  });

  it('reads durations with their unit', () => {
    const config = readConfig({ ...servers, SLUICE_SWEEP_INTERVAL: '2m', SLUICE_DRAIN_TIMEOUT: '1500' });
    expect(config).toMatchObject({ sweepIntervalMs: 120_000, drainTimeoutMs: 1_500 });
  });

  it('keeps everything for ever unless it is told otherwise', () => {
    const { retention, exportDirectory, events } = readConfig(servers);
    expect([Object.values(retention), exportDirectory, events]).toEqual([
      [undefined, undefined, undefined, undefined],
      undefined,
      'terminal',
    ]);
    expect(readConfig({ ...servers, SLUICE_RETENTION_RESULTS: '30d' }).retention.resultsMs).toBe(2_592_000_000);
  });

  it('drops no ledger without an export, and none before its jobs', () => {
    const ledger = { ...servers, SLUICE_RETENTION_LEDGER: '400d' };
    expect(() => readConfig(ledger)).toThrow(/SLUICE_EXPORT_DIR: is missing[^]*SLUICE_RETENTION_JOBS: is missing/);
    const exported = { ...ledger, SLUICE_EXPORT_DIR: '/exports', SLUICE_RETENTION_JOBS: '500d' };
    expect(() => readConfig(exported)).toThrow(
      'SLUICE_RETENTION_JOBS: must not be longer than SLUICE_RETENTION_LEDGER',
    );
    expect(readConfig({ ...exported, SLUICE_RETENTION_JOBS: '400d' }).exportDirectory).toBe('/exports');
  });

  it('reports every problem by the name of its variable', () => {
    const read = () => readConfig({ ...servers, SLUICE_POSTGRES_URL: '', SLUICE_BATCH_MAX: '0' });
    expect(read).toThrow(/SLUICE_POSTGRES_URL: is missing[^]*SLUICE_BATCH_MAX: /);
  });
});
