import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { startLocalServices, type LocalServices } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { checkBooks, type QuotaAnswer } from './books.js';
import { closeClient, createTenant, mustCall, type Tenant } from './client.js';
import { createOutput, type Output } from './console-output.js';
import { loadDemoTexts } from './demo-data.js';
import { printDemo } from './demo-report.js';
import { runDemo } from './demo-run.js';
import { LOCAL, MODEL_DIR } from './paths.js';
import { removeRunFile, removeRunFileNow, writeRunFile } from './run-file.js';
import { parseStartOptions, USAGE, type StartOptions } from './start-options.js';
import { newSecrets, startSuite, type Suite, type SuiteSecrets } from './suite.js';

const DEFAULT_PORT = 8080;
const DEMO_TENANT = 'demo';
const RESTART_DELAY_MS = 1_000;

/** Everything one start has made, in the order it is taken down. */
interface Running {
  services?: LocalServices;
  suite?: Suite;
  runFile?: string;
}

async function main(options: StartOptions): Promise<number> {
  const output = createOutput(options.quiet);
  const running: Running = {};
  const interrupted = whenInterrupted();
  process.on('exit', () => running.runFile && removeRunFileNow(running.runFile));
  try {
    const outcome = await Promise.race([
      bringUp(options, output, running),
      interrupted.then(() => 'interrupted' as const),
    ]);
    if (outcome === 'interrupted') return 130;
    if (options.once) return outcome.healthy ? 0 : 1;
    superviseApps(outcome.suite, output, interrupted);
    await interrupted;
    return 0;
  } finally {
    output.line('\nStopping: work in flight is finished first …');
    await takeDown(running);
    output.line('Stopped. Nothing is left running.');
  }
}

async function bringUp(options: StartOptions, output: Output, running: Running) {
  output.heading('Sluice');
  const startedAt = performance.now();
  const models = buildModels({ directory: MODEL_DIR, report: (message) => output.step(message) });
  running.services = await startLocalServices({
    directory: join(LOCAL, 'services'),
    keepData: true,
    report: ({ server, message }) => output.step(`${server}: ${message}`),
  });
  await models;
  output.step('models and servers are ready', startedAt);

  const suiteStartedAt = performance.now();
  const suite = await startSuite({
    environment: running.services.environment,
    directory: join(LOCAL, 'logs'),
    gateways: options.gateways,
    workers: options.workers,
    collectors: options.collectors,
    port: await choosePort(options.port),
    secrets: await loadSecrets(),
  });
  running.suite = suite;
  output.step(suite.apps.map(({ name, pid }) => `${name} (pid ${pid})`).join(', '), suiteStartedAt);

  const tenant = await createTenant(suite, { tenantId: DEMO_TENANT, plan: 'demo' });
  running.runFile = await announce(suite, running.services, tenant);
  const healthy = await demonstrate({ suite, tenant, services: running.services, output });
  printAddresses(suite, tenant, running.runFile, output);
  return { suite, healthy };
}

interface Demonstration {
  readonly suite: Suite;
  readonly tenant: Tenant;
  readonly services: LocalServices;
  readonly output: Output;
}

/** Pushes real texts through, shows what came of them, and checks the books. True when everything is right. */
async function demonstrate({ suite, tenant, services, output }: Demonstration): Promise<boolean> {
  const texts = await loadDemoTexts();
  output.heading(`First jobs: ${texts.length} texts from examples/data, each a job of its own over HTTP`);
  const quotaBefore = await mustCall<QuotaAnswer>(suite.url, '/v1/quota', { key: tenant.key });
  const progress = output.progress('jobs done', texts.length);
  const run = await runDemo(suite.urls, tenant, texts, () => progress.tick());
  progress.done();
  const quotaAfter = await mustCall<QuotaAnswer>(suite.url, '/v1/quota', { key: tenant.key });
  const books = await checkBooks(services.environment['SLUICE_POSTGRES_URL'] ?? '', tenant.tenantId, run, {
    before: quotaBefore,
    after: quotaAfter,
  });
  printDemo({ output, run, quotaBefore, quotaAfter, books });
  return books.problems.length === 0;
}

async function announce(suite: Suite, services: LocalServices, tenant: Tenant): Promise<string> {
  const usual = join(LOCAL, 'run.json');
  const path = isTaken(usual) ? join(LOCAL, `run-${process.pid}.json`) : usual;
  const serverPids = Object.values(services.servers).flatMap(({ name, pid }) =>
    pid === undefined ? [] : [[name, pid]],
  );
  await writeRunFile(path, {
    pid: process.pid,
    startedAt: new Date().toISOString(),
    url: suite.url,
    urls: suite.urls,
    demo: tenant,
    adminKey: suite.adminKey,
    servers: services.environment,
    pids: { ...suite.pids, ...(Object.fromEntries(serverPids) as Record<string, number>) },
  });
  return path;
}

/** Whether another start, still alive, owns this file. */
function isTaken(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    const { pid } = JSON.parse(readFileSync(path, 'utf8')) as { pid: number };
    process.kill(pid, 0);
    return pid !== process.pid;
  } catch {
    return false;
  }
}

function printAddresses(suite: Suite, tenant: Tenant, runFile: string, output: Output): void {
  output.line(`\nServing at ${suite.urls.join(', ')}`);
  output.line(`  tenant ${tenant.tenantId}, API key ${tenant.key}`);
  output.line(`  servers, keys and pids: ${runFile}`);
  output.line('\nTry it:\n');
  output.line(`  curl -s ${suite.url}/v1/jobs -H 'Authorization: Bearer ${tenant.key}' \\`);
  output.line(`    -H 'Content-Type: application/json' -H 'Idempotency-Key: ${randomUUID()}' \\`);
  output.line(`    -d '{"model":"guesslang","input":"def add(a, b):\\n    return a + b\\n"}'`);
  output.line(`\n  curl -s '${suite.url}/v1/jobs/<id of the answer>?wait=10' -H 'Authorization: Bearer ${tenant.key}'`);
}

/** An app that ends although nobody told it to is started again: that is what a cluster would do. */
function superviseApps(suite: Suite, output: Output, interrupted: Promise<void>): void {
  let ending = false;
  void interrupted.then(() => (ending = true));
  for (const app of suite.apps) {
    const watch = async (): Promise<void> => {
      while (!ending) {
        await Promise.race([app.exited, interrupted]);
        if (ending) return;
        output.line(`${app.name} ended; see ${app.logFile}. Starting it again.`);
        await new Promise((resolve) => setTimeout(resolve, RESTART_DELAY_MS));
        if (!ending) await app.restart().catch((error: Error) => output.line(error.message));
      }
    };
    void watch();
  }
  output.line('\nCtrl-C stops everything.');
}

async function takeDown(running: Running): Promise<void> {
  if (running.runFile) await removeRunFile(running.runFile);
  await running.suite?.stop();
  await closeClient();
  await running.services?.stop();
}

/** Secrets outlive a start, so that keys handed out before still work. */
async function loadSecrets(): Promise<SuiteSecrets> {
  const path = join(LOCAL, 'secrets.json');
  await mkdir(LOCAL, { recursive: true });
  if (!existsSync(path)) {
    await writeFile(path, JSON.stringify(newSecrets()), { mode: 0o600, flag: 'wx' }).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      },
    );
  }
  return JSON.parse(await readFile(path, 'utf8')) as SuiteSecrets;
}

/** The port asked for, or 8080, or a free one when nobody asked and 8080 is taken. */
async function choosePort(asked: number): Promise<number> {
  if (asked >= 0) return asked;
  const free = await new Promise<boolean>((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(DEFAULT_PORT, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
  return free ? DEFAULT_PORT : 0;
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
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
