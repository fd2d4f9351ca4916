import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { startLocalServices } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { LOCAL, MODEL_DIR, ROOT } from './paths.js';
import { countTests, workspaces } from './test-count.js';

/**
 * `npm test`: one set of private servers for all workspaces, then turbo runs every workspace's tests, then the counts
 * of all of them as the last line, `N passed, N failed`.
 */
async function main(args: readonly string[]): Promise<number> {
  const services = await startLocalServices({
    directory: join(LOCAL, 'test-services'),
    report: ({ server, message }) => process.stdout.write(`  ${server}: ${message}\n`),
  });
  const interrupt = (): void => void services.stop().finally(() => process.exit(130));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const code = await runTests(args, services.environment).finally(() => services.stop());
  return report(code);
}

async function runTests(args: readonly string[], environment: Readonly<Record<string, string>>): Promise<number> {
  await buildModels({ directory: MODEL_DIR, report: (message) => process.stdout.write(`  ${message}\n`) });
  return runTurbo(args, environment);
}

function runTurbo(args: readonly string[], environment: Readonly<Record<string, string>>): Promise<number> {
  const turbo = createRequire(join(ROOT, 'package.json')).resolve('turbo/bin/turbo');
  const child = spawn(
    process.execPath,
    [
      turbo,
      'run',
      'lint',
      'typecheck',
      'test',
      '--continue=always',
      // The servers and the apps under test need the cores too.
      `--concurrency=${Math.max(2, availableParallelism())}`,
      '--output-logs=new-only',
      '--log-order=grouped',
      ...args,
    ],
    {
      cwd: ROOT,
      stdio: 'inherit',
      env: { ...process.env, ...environment, SLUICE_MODEL_DIR: MODEL_DIR, TURBO_TELEMETRY_DISABLED: '1' },
    },
  );
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

/** A workspace whose tests could not even start counts as one failure, and so does lint or typecheck. */
async function report(turboCode: number): Promise<number> {
  const counts = await countTests(await workspaces(ROOT), (path) => readFile(path, 'utf8'));
  const failed = counts.failed + (turboCode !== 0 && counts.failed === 0 ? 1 : 0);
  if (turboCode !== 0 && counts.failed === 0) process.stdout.write('Lint, typecheck or a test run itself failed.\n');
  process.stdout.write(`${counts.passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n0 passed, 1 failed\n`);
  return 1;
});
process.exit();
