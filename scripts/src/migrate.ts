import { allConfigured, createLogger, exitOnConfigError, parseEnvironment } from '@sluice/runtime';
import { z } from 'zod';
import { applyDefinitions, readDefinitions } from './database.js';

const folderSchema = z.object({ SLUICE_CONFIG_DIR: z.string().default('config') });
const environmentSchema = z.object({ SLUICE_POSTGRES_URL: z.url({ protocol: /^postgres(ql)?$/ }) });

/** Brings PostgreSQL to the current schema, plans and prices. Safe to run again and from several places at once. */
async function main(): Promise<void> {
  const { SLUICE_CONFIG_DIR: configDir } = parseEnvironment(folderSchema, process.env);
  const [{ SLUICE_POSTGRES_URL: url }, definitions] = await allConfigured([
    () => parseEnvironment(environmentSchema, process.env),
    readDefinitions(configDir),
  ]);
  await applyDefinitions({ url, logger: createLogger({ app: 'migrate', level: 'info' }) }, definitions);
}

await main().catch(exitOnConfigError);
