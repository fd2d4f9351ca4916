import { Client } from 'pg';
import { amqpGreeting, type Endpoint, type Greeting, redisGreeting, waitForAnswer } from './readiness.js';
import type { LocalServer, ServerName, ServerSource } from './server.js';
import { SERVER_VARIABLES } from './test-services.js';

/** A server that the caller named may still be starting, as beside us in a composition of containers. */
const PATIENCE_MS = 5_000;

const VARIABLE_OF = {
  postgres: SERVER_VARIABLES.postgresUrl,
  redis: SERVER_VARIABLES.redisUrl,
  rabbitmq: SERVER_VARIABLES.rabbitmqUrl,
} as const satisfies Record<ServerName, string>;

/** The server URLs in `environment`; an empty variable counts as absent. */
export function givenUrls(environment: NodeJS.ProcessEnv): Partial<Record<ServerName, string>> {
  const entries = Object.entries(VARIABLE_OF).map(([name, variable]) => [name, environment[variable]] as const);
  return Object.fromEntries(entries.filter(([, url]) => url));
}

/**
 * Makes sure that the server a variable names answers, and returns its URL. RabbitMQ's credentials are not tried, the others' are.
 *
 * @throws Error naming the variable and the host, never the password.
 */
export async function checkGivenServer(name: ServerName, environment: NodeJS.ProcessEnv): Promise<string> {
  const variable = VARIABLE_OF[name];
  const url = environment[variable] ?? '';
  if (!URL.canParse(url)) throw new Error(`${variable} is not a URL`);
  const problem = name === 'postgres' ? await postgresProblem(url) : await problemAt(name, new URL(url));
  if (problem === undefined) return url;
  throw new Error(
    `${variable}: no ${name} can be used at ${new URL(url).host} (${problem}). ` +
      'Start that server, correct the variable, or unset it to have a private server started.',
  );
}

/**
 * Makes sure that the named management plugin of RabbitMQ lets the named user in, and returns its URL; undefined when none
 * is named, as only tests and benchmarks need it.
 */
export async function checkManagement(environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  const variable = SERVER_VARIABLES.rabbitmqManagementUrl;
  const url = environment[variable];
  if (!url) return undefined;
  if (!URL.canParse(url)) throw new Error(`${variable} is not a URL`);
  const { origin, host, username, password } = new URL(url);
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const problem = await fetch(`${origin}/api/whoami`, {
    headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).then(
    (response) => (response.ok ? undefined : `status ${response.status}`),
    (error: unknown) => reasonOf(error),
  );
  if (problem !== undefined) throw new Error(`${variable}: no RabbitMQ management at ${host} (${problem}).`);
  return url;
}

async function postgresProblem(url: string): Promise<string | undefined> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: PATIENCE_MS });
  try {
    await client.connect();
    await client.query('SELECT');
    return undefined;
  } catch (error) {
    return reasonOf(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function problemAt(name: 'redis' | 'rabbitmq', url: URL): Promise<string | undefined> {
  const { endpoint, greeting } = name === 'redis' ? redisAt(url) : rabbitMqAt(url);
  const ok = await waitForAnswer(endpoint, greeting, AbortSignal.timeout(PATIENCE_MS));
  return ok ? undefined : `it does not answer in its protocol within ${PATIENCE_MS / 1000} s`;
}

function redisAt(url: URL): { endpoint: Endpoint; greeting: Greeting } {
  const tls = url.protocol === 'rediss:';
  const username = decodeURIComponent(url.username);
  const password = decodeURIComponent(url.password);
  return {
    endpoint: { host: url.hostname, port: Number(url.port || 6379), tls },
    greeting: redisGreeting(password ? { username, password } : undefined),
  };
}

function rabbitMqAt(url: URL): { endpoint: Endpoint; greeting: Greeting } {
  const tls = url.protocol === 'amqps:';
  return {
    endpoint: { host: url.hostname, port: Number(url.port || (tls ? 5671 : 5672)), tls },
    greeting: amqpGreeting,
  };
}

function reasonOf(error: unknown): string {
  const { message, code, cause } = error as NodeJS.ErrnoException;
  const inner = cause as NodeJS.ErrnoException | undefined;
  return inner?.code ?? (message || code) ?? 'no reason given';
}

/** A server that is not a process of ours: it can be used, not killed. */
export function createGivenServer(options: {
  readonly name: ServerName;
  readonly source: Exclude<ServerSource, 'binaries'>;
  readonly url: string;
}): LocalServer {
  const { name, source } = options;
  const refuse = (): never => {
    throw new Error(`${name} comes from ${source}: only servers started from binaries can be controlled`);
  };
  return {
    ...options,
    pid: undefined,
    dataDirectory: undefined,
    kill: async () => refuse(),
    restart: async () => refuse(),
    pause: refuse,
    resume: refuse,
    administer: async () => refuse(),
  };
}
