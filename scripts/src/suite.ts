import { mkdir } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createLogger } from '@sluice/runtime';
import { startApp, type AppName, type AppProcess } from './app-process.js';
import { prepareDatabase } from './database.js';
import { CONFIG_DIR, MODEL_DIR } from './paths.js';

export interface SuiteOptions {
  /** `SLUICE_POSTGRES_URL` and so on, as local-services gives them. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where the apps' logs go. */
  readonly directory: string;
  readonly gateways?: number;
  readonly workers?: number;
  readonly collectors?: number;
  /** Port of the first gateway; 0 (the default) picks a free one. */
  readonly port?: number;
  readonly secrets?: SuiteSecrets;
  /** Further environment for every app. */
  readonly extra?: Readonly<Record<string, string>>;
  /** What one app alone gets, by its name (`api-gateway-1`): a port, or servers reached by another way. */
  readonly environmentOf?: (name: string) => Readonly<Record<string, string>>;
}

export interface SuiteSecrets {
  readonly pepper: string;
  readonly adminKey: string;
}

/** The three apps, running as processes of their own beside real servers. */
export interface Suite {
  /** Base URL of the first gateway. */
  readonly url: string;
  /** Base URLs of all gateways. */
  readonly urls: readonly string[];
  /** Base URLs of the apps' ops servers, by name (`ml-worker-1`). */
  readonly ops: Readonly<Record<string, string>>;
  readonly adminKey: string;
  readonly apps: readonly AppProcess[];
  readonly pids: Readonly<Record<string, number>>;
  /** Gateways first, then workers, then collectors, so that what was accepted is finished and billed. */
  stop(): Promise<void>;
}

export function newSecrets(): SuiteSecrets {
  return { pepper: randomBytes(32).toString('hex'), adminKey: `slk_admin_${randomBytes(24).toString('base64url')}` };
}

/** Migrates, starts the apps and waits until every one of them works. The models must have been built. */
export async function startSuite(options: SuiteOptions): Promise<Suite> {
  const { environment, directory } = options;
  const secrets = options.secrets ?? newSecrets();
  await mkdir(directory, { recursive: true });
  await prepareDatabase({
    url: environment['SLUICE_POSTGRES_URL'] ?? '',
    configDir: options.extra?.['SLUICE_CONFIG_DIR'] ?? CONFIG_DIR,
    logger: createLogger({ app: 'migrate', level: 'silent' }),
  });

  const common = {
    ...inherited(),
    ...environment,
    SLUICE_CONFIG_DIR: CONFIG_DIR,
    SLUICE_MODEL_DIR: MODEL_DIR,
    SLUICE_API_KEY_PEPPER: secrets.pepper,
    SLUICE_ADMIN_KEY: secrets.adminKey,
    ...options.extra,
  };
  const wanted = [
    ...numbered('results-collector', options.collectors ?? 1),
    ...numbered('ml-worker', options.workers ?? 1),
    ...numbered('api-gateway', options.gateways ?? 1),
  ];
  const starts = await Promise.allSettled(
    wanted.map(({ app, name, first }) =>
      startApp({
        app,
        name,
        logFile: join(directory, `${name}.log`),
        environment: {
          ...common,
          SLUICE_PORT: String(first ? (options.port ?? 0) : 0),
          SLUICE_OPS_PORT: '0',
          ...options.environmentOf?.(name),
        },
      }),
    ),
  );
  const apps = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
  const failure = starts.find((start) => start.status === 'rejected');
  if (failure) {
    await Promise.all(apps.map((app) => app.kill()));
    throw failure.reason;
  }
  return createSuite(apps, secrets.adminKey);
}

function createSuite(apps: readonly AppProcess[], adminKey: string): Suite {
  const of = (name: AppName): readonly AppProcess[] => apps.filter(({ app }) => app === name);
  const urls = (): string[] => of('api-gateway').map(({ port }) => `http://127.0.0.1:${port}`);
  return {
    get url() {
      return urls()[0] ?? '';
    },
    get urls() {
      return urls();
    },
    get ops() {
      return Object.fromEntries(
        apps.flatMap(({ name, opsPort }) => (opsPort === undefined ? [] : [[name, `http://127.0.0.1:${opsPort}`]])),
      );
    },
    adminKey,
    apps,
    get pids() {
      return Object.fromEntries(apps.map(({ name, pid }) => [name, pid]));
    },
    async stop() {
      for (const app of ['api-gateway', 'ml-worker', 'results-collector'] as const) {
        await Promise.all(of(app).map((process) => process.stop()));
      }
    },
  };
}

function numbered(app: AppName, count: number) {
  return Array.from({ length: count }, (_, index) => ({ app, name: `${app}-${index + 1}`, first: index === 0 }));
}

/** Nothing of the caller's own SLUICE_ settings leaks into the apps by accident, its server URLs above all. */
function inherited(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_')));
}
