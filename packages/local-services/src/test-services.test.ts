import { describe, expect, it } from '@jest/globals';
import { testServices, uniqueKeyPrefix } from './test-services.js';

describe('testServices', () => {
  const complete = {
    SLUICE_POSTGRES_URL: 'postgres://a',
    SLUICE_REDIS_URL: 'redis://b',
    SLUICE_RABBITMQ_URL: 'amqp://c',
    SLUICE_RABBITMQ_MANAGEMENT_URL: 'http://d',
  };

  it('returns the servers of the environment', () => {
    expect(testServices(complete)).toEqual({
      postgresUrl: 'postgres://a',
      redisUrl: 'redis://b',
      rabbitmqUrl: 'amqp://c',
      rabbitmqManagementUrl: 'http://d',
    });
  });

  it('names every variable that is absent or empty', () => {
    const { SLUICE_REDIS_URL: _, ...rest } = complete;
    expect(() => testServices({ ...rest, SLUICE_RABBITMQ_URL: '' })).toThrow(
      /^SLUICE_REDIS_URL, SLUICE_RABBITMQ_URL not set.*jest-global-setup/,
    );
  });
});

describe('uniqueKeyPrefix', () => {
  it('never gives the same prefix twice', () => {
    const prefixes = new Set(Array.from({ length: 100 }, uniqueKeyPrefix));
    expect(prefixes.size).toBe(100);
    for (const prefix of prefixes) expect(prefix).toMatch(/^test-[0-9a-f]{16}$/);
  });
});
