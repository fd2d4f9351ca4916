import type { PlansFile, PricesFile } from '@sluice/contracts';
import { allConfigured, openConfigFolder, type Logger } from '@sluice/runtime';
import { migrate, syncPlans, syncPrices } from '@sluice/store';

export interface PrepareOptions {
  /** Of PostgreSQL. */
  readonly url: string;
  /** Folder of `models.yaml`, `plans.yaml` and `prices.yaml`. */
  readonly configDir: string;
  readonly logger: Logger;
}

/** What the files of the configuration say that PostgreSQL keeps. */
export type Definitions = Pick<PlansFile, 'plans'> & Pick<PricesFile, 'prices'>;

/**
 * Brings PostgreSQL to the current schema, plans and prices. The files are read first: with a mistake in one of them
 * nothing is changed.
 *
 * @throws ConfigError with every problem of the three files, by file and line.
 */
export async function prepareDatabase({ url, configDir, logger }: PrepareOptions): Promise<void> {
  await applyDefinitions({ url, logger }, await readDefinitions(configDir));
}

/** @throws ConfigError with every problem of the three files, by file and line. */
export async function readDefinitions(configDir: string): Promise<Definitions> {
  const files = openConfigFolder(configDir, process.env);
  const [, { plans }, { prices }] = await allConfigured([files.models(), files.plans(), files.prices()]);
  return { plans, prices };
}

/** Brings PostgreSQL to the current schema and to these plans and prices. */
export async function applyDefinitions(
  { url, logger }: Omit<PrepareOptions, 'configDir'>,
  { plans, prices }: Definitions,
): Promise<void> {
  const { applied } = await migrate({ url, logger });
  await syncPlans({ url, plans, logger });
  await syncPrices({ url, prices, logger });
  logger.info({ applied, plans: Object.keys(plans).length, prices: prices.length }, 'the database is up to date');
}
