import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createTenant } from '../src/client.js';
import { ROOT } from '../src/paths.js';
import { isolate, type Isolated } from './isolated-suite.js';

const run = promisify(execFile);
const EXAMPLE = join(ROOT, 'examples', 'producer-typescript');
let isolated: Isolated;
let directory: string;

beforeAll(async () => {
  isolated = await isolate();
  directory = await mkdtemp(join(tmpdir(), 'sluice-example-'));
}, 120_000);
afterAll(async () => {
  await isolated.close();
  await rm(directory, { recursive: true });
});

it('the example in TypeScript submits three jobs and hears how they end', async () => {
  const suite = await isolated.start();
  const tenantId = 'with.dots-in-it';
  await createTenant(suite, { tenantId, plan: 'demo' });
  const runFile = join(directory, 'run.json');
  const { environment: servers } = isolated;
  const content = { url: suite.url, adminKey: suite.adminKey, demo: { tenantId }, servers };
  await writeFile(runFile, JSON.stringify(content));

  const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  await run(process.execPath, [compiler, '-p', EXAMPLE]);
  const { stdout } = await run(process.execPath, [join(EXAMPLE, 'dist', 'main.js')], {
    env: { PATH: process.env['PATH'], SLUICE_RUN_FILE: runFile },
  });
  const lines = stdout.trim().split('\n');
  expect(lines.filter((line) => /^text [123] is job [0-9a-f-]{36}, queued$/.test(line))).toHaveLength(3);
  expect(lines.filter((line) => /^job [0-9a-f-]{36} has succeeded: \d+ input tokens$/.test(line))).toHaveLength(3);
  expect(lines).toHaveLength(6);
});
