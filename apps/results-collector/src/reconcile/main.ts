// Prints as one line of JSON which tenants differ between Redis and the books (`Reconciled`); `npm run reconcile` shows
// it. Ends with 1 when it could not be found out.
import { connectRedis, createQuota, redisServer } from '@sluice/quota';
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
  const server = redisServer(redis);
  const store = createStore({
    ...{ url: postgresUrl, applicationName: NAME, poolSize: 1, statementTimeoutMs: STATEMENT_TIMEOUT_MS, logger },
  });
  try {
    await Promise.all([store.start(), server.ready(REDIS_TIMEOUT_MS)]);
    const quota = createQuota({ redis, keyPrefix, logger });
    const reconciled = await reconcileTenants({ store, quota, redisNowMs: () => server.nowMs() });
    process.stdout.write(`${JSON.stringify(reconciled)}\n`);
  } finally {
    await Promise.allSettled([store.stop(), server.close()]);
  }
}

await main().catch((error: unknown) => {
  if (error instanceof ConfigError) exitOnConfigError(error);
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
