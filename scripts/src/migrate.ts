import { createLogger, exitOnConfigError, parseEnvironment } from '@sluice/runtime';
import { z } from 'zod';
import { prepareDatabase } from './database.js';

/** Brings PostgreSQL to the current schema, plans and prices. Safe to run again and from several places at once. */
async function main(): Promise<void> {
  const schema = z.object({ SLUICE_POSTGRES_URL: z.url(), SLUICE_CONFIG_DIR: z.string().default('config') });
  const { SLUICE_POSTGRES_URL: url, SLUICE_CONFIG_DIR: configDir } = parseEnvironment(schema, process.env);
  await prepareDatabase({ url, configDir, logger: createLogger({ app: 'migrate', level: 'info' }) });
}

await main().catch(exitOnConfigError);
