import { join } from 'node:path';
import { modelsFileSchema, plansFileFor, pricesFileFor } from '@sluice/contracts';
import { loadConfigFile, type Logger } from '@sluice/runtime';
import { migrate, syncPlans, syncPrices } from '@sluice/store';

export interface PrepareOptions {
  /** Of PostgreSQL. */
  readonly url: string;
  /** Folder of `models.yaml`, `plans.yaml` and `prices.yaml`. */
  readonly configDir: string;
  readonly logger: Logger;
}

/**
 * Brings PostgreSQL to the current schema, plans and prices. The files are read first: with a mistake in one of them
 * nothing is changed.
 *
 * @throws ConfigError with every problem of a file, by file and line.
 */
export async function prepareDatabase({ url, configDir, logger }: PrepareOptions): Promise<void> {
  const models = await loadConfigFile(join(configDir, 'models.yaml'), modelsFileSchema, process.env);
  const { plans } = await loadConfigFile(join(configDir, 'plans.yaml'), plansFileFor(models), process.env);
  const { prices } = await loadConfigFile(join(configDir, 'prices.yaml'), pricesFileFor(models), process.env);
  const { applied } = await migrate({ url, logger });
  await syncPlans({ url, plans, logger });
  await syncPrices({ url, prices, logger });
  logger.info({ applied, plans: Object.keys(plans).length, prices: prices.length }, 'the database is up to date');
}
