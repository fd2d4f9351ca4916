import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ConfigError } from '@sluice/runtime';
import { loadConfig } from '../src/config.js';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-config-'));
  await cp(fileURLToPath(new URL('../../../config', import.meta.url)), directory, { recursive: true });
});
afterAll(() => rm(directory, { recursive: true }));

const environment = {
  SLUICE_POSTGRES_URL: 'postgres://localhost/sluice',
  SLUICE_REDIS_URL: 'redis://localhost',
  SLUICE_RABBITMQ_URL: 'amqp://localhost',
  SLUICE_API_KEY_PEPPER: 'a pepper that only the tests use',
};

async function problemsOf(changes: Readonly<Record<string, string>> = {}): Promise<readonly string[]> {
  try {
    await loadConfig({ ...environment, SLUICE_CONFIG_DIR: directory, ...changes });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('the configuration', () => {
  it('of the repository is valid', async () => {
    expect(await problemsOf()).toEqual([]);
  });

  it('takes one Redis, or the seeds of a cluster', async () => {
    expect(await problemsOf({ SLUICE_REDIS_URL: 'redis://a:7001,rediss://b:7002' })).toEqual([]);
    expect(await problemsOf({ SLUICE_REDIS_URL: 'redis://a:7001,http://b' })).toEqual([
      expect.stringContaining('SLUICE_REDIS_URL'),
    ]);
  });

  it('lets bodies be as large as messages of the broker may be, and no larger', async () => {
    expect(await problemsOf({ SLUICE_MAX_BODY_BYTES: String(15 * 2 ** 20) })).toEqual([]);
    expect(await problemsOf({ SLUICE_MAX_BODY_BYTES: String(16 * 2 ** 20) })).toEqual([
      'SLUICE_MAX_BODY_BYTES: must be at most 15728640',
    ]);
  });

  it('with plans for models that do not exist, or with bad limits, is refused with file and line', async () => {
    const plans = ['plans:', '  p:', '    limits: { tokensPerMinute: many }', '    perModel:', '      gone: {}', ''];
    await writeFile(join(directory, 'plans.yaml'), plans.join('\n'));
    const file = join(directory, 'plans.yaml');
    expect(await problemsOf({ SLUICE_PORT: 'http', SLUICE_ADMIN_KEY: 'short' })).toEqual([
      'SLUICE_PORT: must be a whole number',
      'SLUICE_ADMIN_KEY: must have at least 16 characters',
      `${file}:3: plans.p.limits.tokensPerMinute: must be a number`,
      `${file}:5: plans.p.perModel.gone: no model "gone" exists`,
    ]);
  });
});
