import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import type { Round } from '../src/harness/figures.js';
import type { BenchmarkResult } from '../src/harness/report.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

it('measures suites that record nothing, a hundredth and everything in turns', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
  const path = join(directory, 'result.json');
  const child = spawn(process.execPath, [MAIN, 'telemetry', '--quick', '--json', path]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [exitCode] = (await once(child, 'close')) as [number | null];
  if (exitCode !== 0) throw new Error(output);
  const { cases } = JSON.parse(await readFile(path, 'utf8')) as BenchmarkResult;
  await rm(directory, { recursive: true });
  expect(cases.map(({ rounds }) => Object.keys(rounds))).toEqual([
    ['off', '1 %'],
    ['off', '100 %'],
  ]);
  const rounds = cases.flatMap((item) => Object.values(item.rounds).flat()) as Round[];
  for (const { jobs, jobsPerSecond } of rounds) {
    expect(jobs).toBe(500);
    expect(jobsPerSecond).toBeGreaterThan(0);
  }
}, 240_000);
