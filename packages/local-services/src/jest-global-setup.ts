import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startLocalServices } from './local-services.js';
import { keepForTeardown } from './jest-state.js';

/** `.local` of the workspace root, which version control ignores. */
const DIRECTORY = join(dirname(fileURLToPath(import.meta.url)), '../../../.local/test-services');

/** Starts private servers for what the environment does not name, and puts all four variables there. */
export default async function setup(): Promise<void> {
  const services = await startLocalServices({
    directory: DIRECTORY,
    report: ({ server, message }) => process.stderr.write(`${server} ${message}\n`),
  });
  const previous = Object.fromEntries(Object.keys(services.environment).map((name) => [name, process.env[name]]));
  Object.assign(process.env, services.environment);
  keepForTeardown({ services, previous });
}
