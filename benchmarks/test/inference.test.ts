import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { BenchmarkResult } from '../src/harness/report.js';
import type { LatencyRound } from '../src/inference/latency.js';
import type { MemoryPoint } from '../src/inference/memory.js';
import type { ThroughputRound } from '../src/inference/throughput.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const RUN_TIMEOUT_MS = 240_000;

describe('the inference benchmark, quick', () => {
  let directory: string;
  let result: BenchmarkResult;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
    const path = join(directory, 'result.json');
    const child = spawn(process.execPath, [MAIN, 'inference', '--quick', '--json', path]);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [exitCode] = (await once(child, 'close')) as [number | null];
    if (exitCode !== 0) throw new Error(output);
    result = JSON.parse(await readFile(path, 'utf8')) as BenchmarkResult;
  }, RUN_TIMEOUT_MS);

  afterAll(() => rm(directory, { recursive: true, force: true }));

  const casesOf = (title: string) => result.cases.filter(({ name }) => name.includes(title));

  it('compares every way of running the texts with the offline loop, for each model', () => {
    for (const model of ['use-lite-en', 'guesslang']) {
      const [againstOffline, againstFixed] = casesOf(`useful tokens/s`).filter(({ name }) => name.startsWith(model));
      expect(againstOffline?.comparisons).toHaveLength(Object.keys(againstOffline?.rounds ?? {}).length - 1);
      for (const { ratio } of againstOffline?.comparisons ?? []) expect(ratio?.median).toBeGreaterThan(0);
      expect(againstFixed?.columns?.[0]).toContain('16 at a time');
      expect(againstFixed?.comparisons.map(({ title }) => title)).toEqual([
        'worker, 1 text a job',
        'worker, 16 texts a job',
      ]);
    }
  });

  it('counts the CPU of broker and worker where the system tells', () => {
    for (const { rounds } of casesOf('CPU')) {
      const [round] = Object.values(rounds)[1] as readonly ThroughputRound[];
      const roles = Object.keys(round?.cpuMicrosPerText ?? {}).sort();
      expect(roles).toEqual(process.platform === 'linux' ? ['RabbitMQ', 'benchmark', 'inference', 'parent'] : []);
    }
  });

  it('says how the worker formed its batches, and how late it was', () => {
    for (const { rounds } of casesOf('CPU and batches')) {
      const [round] = Object.values(rounds)[1] as readonly ThroughputRound[];
      expect(round?.textsPerRun).toBeGreaterThan(0);
      expect(round?.usefulShare).toBeGreaterThan(0);
      expect(round?.usefulShare).toBeLessThanOrEqual(1);
    }
    for (const { comparisons } of casesOf('event loop')) {
      expect(comparisons.map(({ title }) => title)).toEqual(['p50, ms', 'p99, ms', 'longest, ms']);
      for (const { baseline } of comparisons) expect(baseline.median).toBeGreaterThan(0);
    }
  });

  it('gives latencies at three loads, of which none is below the bare run', () => {
    expect(casesOf('latency')).toHaveLength(4);
    for (const { rounds } of casesOf('latency')) {
      for (const { resultMs, overheadMs } of Object.values(rounds).flat() as readonly LatencyRound[]) {
        expect(resultMs.p99).toBeGreaterThanOrEqual(resultMs.p50);
        expect(resultMs.p50).toBeGreaterThan(overheadMs.p50);
      }
    }
  });

  it('reads memory at ten points over jobs and over reloads, where the system tells', () => {
    const watched = casesOf('resident memory');
    expect(watched).toHaveLength(process.platform === 'linux' ? 2 : 0);
    for (const { rounds } of watched) {
      const points = Object.values(rounds).flat() as readonly MemoryPoint[];
      expect(points).toHaveLength(10);
      for (const { parentMib, inferenceMib } of points) expect(Math.min(parentMib, inferenceMib)).toBeGreaterThan(10);
    }
  });
});
