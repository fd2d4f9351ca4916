import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { startLocalServices, type LocalServices } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { closeClient, createTenant, revokeKey, type Tenant } from './client.js';
import { createOutput, type Output } from './console-output.js';
import { demonstrate, type Demonstration } from './demonstration.js';
import { openLogFolder } from './log-folder.js';
import { LOCAL, MODEL_DIR } from './paths.js';
import { choosePort } from './port.js';
import { createRunFile, type RunFile, type RunFileContent } from './run-file.js';
import { loadSecrets } from './secrets-file.js';
import { parseStartOptions, USAGE, type StartOptions } from './start-options.js';
import { startSuite, type Suite } from './suite.js';
import { supervise, type Supervision } from './supervision.js';

const DEMO_TENANT = 'demo';
/** Exit code of a shell's command that Ctrl-C has ended. */
const INTERRUPTED = 130;

/** Everything one start has made so far. */
interface Running {
  services?: LocalServices;
  suite?: Suite;
  tenant?: Tenant;
  runFile?: RunFile;
  supervision?: Supervision;
}

/** A suite that serves, with what its start has shown. */
interface Serving extends Demonstration {
  readonly services: LocalServices;
  readonly suite: Suite;
  readonly runFile: RunFile;
}

async function main(options: StartOptions): Promise<number> {
  const port = await choosePort(options.port);
  const output = createOutput(options.quiet);
  const running: Running = {};
  const interrupted = whenInterrupted();
  process.on('exit', () => running.runFile?.removeNow());
  const work = new AbortController();
  const bringingUp = bringUp({ ...options, port }, { output, running, signal: work.signal });
  let code = await serve(options, { bringingUp, interrupted, running, output }).catch((error: unknown) => {
    output.problem(messageOf(error));
    return 1;
  });
  output.line('\nStopping: work in flight is finished first …');
  work.abort();
  if (!(await takeDown(running, bringingUp, output))) code = 1;
  output.line(
    code === 0 || code === INTERRUPTED
      ? 'Stopped. Nothing is left running.'
      : 'Stopped because of what is marked ✗ above.',
  );
  return code;
}

interface Means {
  readonly bringingUp: Promise<Serving>;
  readonly interrupted: Promise<void>;
  readonly running: Running;
  readonly output: Output;
}

/** Resolves with the exit code when it is time to stop. Throws what made it impossible to go on. */
async function serve({ once }: StartOptions, { bringingUp, interrupted, running, output }: Means): Promise<number> {
  const serving = await Promise.race([bringingUp, interrupted]);
  if (!serving) return INTERRUPTED;
  if (once) return serving.healthy ? 0 : 1;
  const { suite, services, runFile } = serving;
  running.supervision = supervise({
    apps: suite.apps,
    servers: Object.values(services.servers),
    report: (line) => output.line(line),
    onRestart: () => runFile.write(),
  });
  output.line('\nCtrl-C stops everything.');
  const failure = await Promise.race([running.supervision.failed, interrupted]);
  if (failure) throw failure;
  return 0;
}

interface BringUp {
  readonly output: Output;
  /** Filled on the way, so that what is there can be taken down whenever it ends. */
  readonly running: Running;
  /** Aborted when what is being brought up is no longer wanted. */
  readonly signal: AbortSignal;
}

async function bringUp(options: StartOptions, { output, running, signal }: BringUp): Promise<Serving> {
  output.heading('Sluice');
  const startedAt = performance.now();
  const models = buildModels({ directory: MODEL_DIR, report: (message) => output.step(message) });
  models.catch(noop); // it may fail while the servers are still starting; awaited below
  const services = await startLocalServices({
    directory: join(LOCAL, 'services'),
    keepData: true,
    report: ({ server, message }) => output.step(`${server}: ${message}`),
  });
  running.services = services;
  await models;
  signal.throwIfAborted();
  output.step('models and servers are ready', startedAt);

  const suiteStartedAt = performance.now();
  const suite = await startSuite({
    environment: services.environment,
    directory: await openLogFolder(join(LOCAL, 'logs')),
    gateways: options.gateways,
    workers: options.workers,
    collectors: options.collectors,
    port: options.port,
    secrets: await loadSecrets(join(LOCAL, 'secrets.json')),
  });
  running.suite = suite;
  signal.throwIfAborted();
  output.step(suite.apps.map(({ name, pid }) => `${name} (pid ${pid})`).join(', '), suiteStartedAt);

  const tenant = await createTenant(suite, { tenantId: DEMO_TENANT, plan: 'demo' });
  running.tenant = tenant;
  const startedAtTime = new Date().toISOString();
  const runFile = createRunFile(LOCAL, () => describeRun(suite, services, tenant, startedAtTime));
  running.runFile = runFile;
  await runFile.write();
  const postgresUrl = services.environment['SLUICE_POSTGRES_URL'] ?? '';
  const demonstration = await demonstrate({ suite, tenant, postgresUrl, output });
  printAddresses({ suite, tenant, runFile, run: demonstration.run }, output);
  return { ...demonstration, services, suite, runFile };
}

function describeRun(suite: Suite, services: LocalServices, tenant: Tenant, startedAt: string): RunFileContent {
  const serverPids = Object.values(services.servers).flatMap(({ name, pid }) =>
    pid === undefined ? [] : [[name, pid] as const],
  );
  return {
    pid: process.pid,
    startedAt,
    url: suite.url,
    urls: suite.urls,
    ops: suite.ops,
    demo: tenant,
    adminKey: suite.adminKey,
    servers: services.environment,
    pids: { ...suite.pids, ...Object.fromEntries(serverPids) },
  };
}

interface Addresses extends Pick<Demonstration, 'run'> {
  readonly suite: Suite;
  readonly tenant: Tenant;
  readonly runFile: RunFile;
}

/** Every command works as it is printed, in any POSIX shell. */
function printAddresses({ suite, tenant, runFile, run }: Addresses, output: Output): void {
  const authorization = `-H 'Authorization: Bearer ${tenant.key}'`;
  output.line(`\nServing at ${suite.urls.join(', ')}`);
  output.line(`  tenant ${tenant.tenantId}, API key ${tenant.key}`);
  output.line(`  servers, keys and pids: ${runFile.path}`);
  output.line('\nTry it; the answer names the job:\n');
  output.line(`  curl -s ${suite.url}/v1/jobs ${authorization} \\`);
  output.line(`    -H 'Content-Type: application/json' -H 'Idempotency-Key: ${randomUUID()}' \\`);
  output.line(`    -d '{"model":"guesslang","input":"def add(a, b):\\n    return a + b\\n"}'`);
  output.line('\nThe result of one of the first jobs; put the id of yours in its place:\n');
  output.line(`  curl -s '${suite.url}/v1/jobs/${run.results.at(-1)?.job.id}?wait=10' ${authorization}`);
}

/**
 * Ends all that was made, in the order in which work is finished and billed; what one step cannot do does not keep the
 * others from being done. True when every step succeeded.
 */
async function takeDown(running: Running, bringingUp: Promise<unknown>, output: Output): Promise<boolean> {
  const { supervision, runFile } = running;
  const steps: readonly (() => Promise<void> | undefined)[] = [
    () => supervision?.stop(),
    () => runFile?.remove(),
    () => endSuite(running, output),
    // What was interrupted on the way fails now that its suite is gone, or comes to its next step and notices.
    () => bringingUp.then(noop, noop),
    () => running.runFile?.remove(),
    () => endSuite(running, output),
    () => closeClient(),
    () => running.services?.stop(),
  ];
  let succeeded = true;
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      succeeded = false;
      output.problem(messageOf(error));
    }
  }
  return succeeded;
}

/** Revokes the key of this start, since the next makes another, and stops the apps. */
async function endSuite(running: Running, output: Output): Promise<void> {
  const { suite, tenant } = running;
  if (!suite) return;
  delete running.suite;
  if (tenant) {
    await revokeKey(suite, tenant).catch((error: unknown) =>
      output.line(`The API key of this start stays valid, it could not be revoked: ${messageOf(error)}`),
    );
  }
  await suite.stop();
}

function noop(): void {
  // nothing is left to do
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Resolves on Ctrl-C, SIGTERM, or when the npm that started us is gone; a second signal ends at once. */
function whenInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    let times = 0;
    const interrupt = (): void => {
      times += 1;
      if (times > 1) process.exit(130);
      resolve();
    };
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
    const parent = process.ppid;
    setInterval(() => process.ppid !== parent && times === 0 && interrupt(), 1_000).unref();
  });
}

try {
  const options = parseStartOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(USAGE);
  else process.exitCode = await main(options);
} catch (error) {
  process.stderr.write(`\n${messageOf(error)}\n`);
  process.exitCode = 1;
}
process.exit();
