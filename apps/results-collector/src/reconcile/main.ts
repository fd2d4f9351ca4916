// Prints as one line of JSON which tenants differ between Redis and the books (`Reconciled`); `npm run reconcile` shows
// it. Ends with 1 when it could not be found out.
import { closeRedis, connectRedis, createQuota, redisReady } from '@sluice/quota';
import { ConfigError, createLogger, exitOnConfigError } from '@sluice/runtime';
import { createStore } from '@sluice/store';
import { readReconcileConfig } from './config.js';
import { reconcileTenants } from './tenants.js';

const NAME = 'reconcile';
const REDIS_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 60_000;

async function main(): Promise<void> {
  const { postgresUrl, redisUrl, keyPrefix } = readReconcileConfig(process.env);
  const logger = createLogger({ app: NAME, level: 'silent' });
  const redis = connectRedis({ url: redisUrl, name: NAME, logger });
  const store = createStore({
    ...{ url: postgresUrl, applicationName: NAME, poolSize: 1, statementTimeoutMs: STATEMENT_TIMEOUT_MS, logger },
  });
  try {
    await Promise.all([store.start(), redisReady(redis, REDIS_TIMEOUT_MS)]);
    const quota = createQuota({ redis, keyPrefix, logger });
    process.stdout.write(`${JSON.stringify(await reconcileTenants({ store, quota, now: Date.now }))}\n`);
  } finally {
    await Promise.allSettled([store.stop(), closeRedis(redis)]);
  }
}

await main().catch((error: unknown) => {
  if (error instanceof ConfigError) exitOnConfigError(error);
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
