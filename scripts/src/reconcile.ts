import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createOutput } from './console-output.js';
import { LOCAL } from './paths.js';
import { isRunning } from './process-id.js';
import { reconcile } from './reconciliation.js';
import type { RunFileContent } from './run-file.js';

/** The servers that the environment names, else those of the suite that `npm start` runs here. */
function servers(): Readonly<Record<string, string | undefined>> | undefined {
  if (process.env['SLUICE_POSTGRES_URL'] && process.env['SLUICE_REDIS_URL']) return process.env;
  const path = join(LOCAL, 'run.json');
  if (!existsSync(path)) return undefined;
  const run = JSON.parse(readFileSync(path, 'utf8')) as RunFileContent;
  return isRunning(run.pid) ? run.servers : undefined;
}

/** `npm run reconcile`: ends with 0 when books and limits are right, with 1 when not or when nobody knows. */
async function main(): Promise<number> {
  const output = createOutput(false);
  const environment = servers();
  if (environment === undefined) {
    output.problem('Set SLUICE_POSTGRES_URL and SLUICE_REDIS_URL, or run `npm start` first.');
    return 1;
  }
  return (await reconcile({ environment, output })) ? 0 : 1;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
