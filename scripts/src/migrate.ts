import { join } from 'node:path';
import { pricesFileSchema } from '@sluice/contracts';
import { createLogger, exitOnConfigError, loadConfigFile, parseEnvironment } from '@sluice/runtime';
import { migrate, syncPrices } from '@sluice/store';
import { z } from 'zod';

/** Brings PostgreSQL to the current schema and prices. Safe to run again and from several places at once. */
async function main(): Promise<void> {
  const schema = z.object({ SLUICE_POSTGRES_URL: z.url(), SLUICE_CONFIG_DIR: z.string().default('config') });
  const { SLUICE_POSTGRES_URL: url, SLUICE_CONFIG_DIR: configDir } = parseEnvironment(schema, process.env);
  const { prices } = await loadConfigFile(join(configDir, 'prices.yaml'), pricesFileSchema, process.env);
  const logger = createLogger({ app: 'migrate', level: 'info' });
  const { applied } = await migrate({ url, logger });
  await syncPrices({ url, prices, logger });
  logger.info({ applied, prices: prices.length }, 'the database is up to date');
}

await main().catch(exitOnConfigError);
