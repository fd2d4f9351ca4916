import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CONFIG_DIR, createTenant, startSuite, type Suite } from '@sluice/scripts';
import { openBooks } from './books.js';
import { JOB_BODY, TENANT_IDS, type Side } from './side.js';

/** Limits are checked on every job and never reached. */
const BENCHMARK_PLAN = 'benchmark';
const PLAN_YAML = `
  ${BENCHMARK_PLAN}:
    limits: { tokensPerMinute: 100000000000, tokensPerMonth: 9000000000000 }
`;

const ROLE_OF_APP = { 'api-gateway': 'gateway', 'ml-worker': 'worker', 'results-collector': 'collector' } as const;

export interface SluiceSideOptions {
  readonly environment: Readonly<Record<string, string>>;
  /** For configuration and logs. */
  readonly directory: string;
  /** `sluice` when absent. */
  readonly name?: string;
  /** Further environment for every app. */
  readonly extra?: Readonly<Record<string, string>>;
}

/** Starts the suite with everything on, one process for each app, and the benchmark's tenants. `closeClient` is the caller's to call. */
export async function startSluiceSide(options: SluiceSideOptions): Promise<Side> {
  const { environment, directory, name = 'sluice', extra } = options;
  const suite = await startSuite({
    environment,
    directory: join(directory, 'logs'),
    gateways: 1,
    workers: 1,
    collectors: 1,
    extra: {
      NODE_ENV: 'production',
      SLUICE_CONFIG_DIR: await writeConfiguration(join(directory, 'config')),
      ...extra,
    },
  });
  try {
    const keys = await createTenants(suite);
    const books = await openBooks(environment['SLUICE_POSTGRES_URL'] ?? '', 'sql/sluice-billed.sql');
    return {
      name,
      url: `${suite.url}/v1/jobs`,
      roles: Object.fromEntries(suite.apps.map(({ app, pid }) => [ROLE_OF_APP[app], [pid]])),
      templates: keys.map((key) => ({
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JOB_BODY,
      })),
      books,
      async stop() {
        await books.close();
        await suite.stop();
      },
    };
  } catch (error) {
    await suite.stop();
    throw error;
  }
}

/** The repository's own configuration and a plan with ample limits. */
async function writeConfiguration(directory: string): Promise<string> {
  await cp(CONFIG_DIR, directory, { recursive: true });
  const plans = join(directory, 'plans.yaml');
  await writeFile(plans, (await readFile(plans, 'utf8')).trimEnd() + PLAN_YAML);
  return directory;
}

async function createTenants(suite: Suite): Promise<readonly string[]> {
  const tenants = TENANT_IDS.map((tenantId) => createTenant(suite, { tenantId, plan: BENCHMARK_PLAN }));
  return (await Promise.all(tenants)).map(({ key }) => key);
}
