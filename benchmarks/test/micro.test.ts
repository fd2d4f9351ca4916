import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { BenchmarkResult } from '../src/harness/report.js';
import type { OperationRound } from '../src/micro/operations.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const RUN_TIMEOUT_MS = 120_000;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function runQuick(name: string): Promise<BenchmarkResult> {
  const path = join(directory, `${name}.json`);
  const child = spawn(process.execPath, [MAIN, name, '--quick', '--json', path]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [exitCode] = (await once(child, 'close')) as [number | null];
  if (exitCode !== 0) throw new Error(output);
  return JSON.parse(await readFile(path, 'utf8')) as BenchmarkResult;
}

describe.each([
  ['reserve', 5],
  ['record', 2],
])('the micro-benchmark %s, quick', (name, cases) => {
  it(
    'measures the bare part and the real one in turns and states their ratio',
    async () => {
      const result = await runQuick(name);
      expect(result.cases).toHaveLength(cases);
      for (const { rounds, comparisons } of result.cases) {
        expect(Object.keys(rounds)).toHaveLength(2);
        for (const [round] of Object.values(rounds) as (readonly OperationRound[])[]) {
          expect(round?.operations).toBeGreaterThan(0);
          expect(round?.perSecond).toBeGreaterThan(0);
        }
        expect(comparisons[0]).toMatchObject({ title: 'operations/s' });
        expect(comparisons[0]?.ratio?.median).toBeGreaterThan(0);
      }
    },
    RUN_TIMEOUT_MS,
  );
});
