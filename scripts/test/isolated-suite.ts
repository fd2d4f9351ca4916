import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestDatabase, createVirtualHost, testServices, uniqueKeyPrefix } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { Redis } from 'ioredis';
import pg from 'pg';
import { MODEL_DIR } from '../src/paths.js';
import { newSecrets, startSuite, type Suite, type SuiteOptions } from '../src/suite.js';

export interface Isolated {
  readonly database: pg.Client;
  /** `SLUICE_POSTGRES_URL` and so on of its own. */
  readonly environment: Readonly<Record<string, string>>;
  /** Starts the three apps on this file's own database, vhost and key prefix. */
  start(options?: Partial<SuiteOptions>): Promise<Suite>;
  /** Empties Redis as far as this file uses it, at one moment, like FLUSHALL or an empty replica. */
  forgetRedis(): Promise<void>;
  close(): Promise<void>;
}

/** n.b. KEYS walks through all keys of the server; fine for a test's. */
const FORGET = `for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do redis.call('DEL', key) end`;

/** Real servers, shared with other test files, but a database, vhost and key prefix of one's own. */
export async function isolate(): Promise<Isolated> {
  const services = testServices();
  await buildModels({ directory: MODEL_DIR });
  const database = await createTestDatabase(services.postgresUrl, {});
  const vhost = await createVirtualHost({
    rabbitmqUrl: services.rabbitmqUrl,
    managementUrl: services.rabbitmqManagementUrl,
  });
  const directory = await mkdtemp(join(tmpdir(), 'sluice-suite-'));
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const redis = new Redis(services.redisUrl);
  const secrets = newSecrets();
  const suites: Suite[] = [];
  const environment = {
    SLUICE_POSTGRES_URL: database.url,
    SLUICE_REDIS_URL: services.redisUrl,
    SLUICE_RABBITMQ_URL: vhost.url,
    SLUICE_KEY_PREFIX: uniqueKeyPrefix(),
  };
  return {
    database: client,
    environment,
    async start(options = {}) {
      const suite = await startSuite({ environment, directory, secrets, ...options });
      suites.push(suite);
      return suite;
    },
    async forgetRedis() {
      await redis.eval(FORGET, 0, environment.SLUICE_KEY_PREFIX);
    },
    async close() {
      redis.disconnect();
      await Promise.all(suites.flatMap(({ apps }) => apps.map((app) => app.kill())));
      await client.end();
      await Promise.all([database.drop(), vhost.drop(), rm(directory, { recursive: true, force: true })]);
    },
  };
}
