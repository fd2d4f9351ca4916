import { describe, expect, it } from '@jest/globals';
import { missingServers } from './sources.js';

describe('missingServers', () => {
  it('lists every remedy for the servers that are missing, and what was tried', () => {
    const message = missingServers(['rabbitmq', 'redis'], ['apt-get install ended with 100']);
    expect(message).toMatch(/^Sluice needs rabbitmq and redis/);
    for (const remedy of ['SLUICE_RABBITMQ_URL', 'SLUICE_REDIS_URL', 'apt-get install', 'brew install', 'Docker']) {
      expect(message).toContain(remedy);
    }
    expect(message).not.toContain('SLUICE_POSTGRES_URL');
    expect(message).toMatch(/ended with 100$/);
  });
});
