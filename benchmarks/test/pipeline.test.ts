import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Round } from '../src/harness/figures.js';
import type { BenchmarkResult } from '../src/harness/report.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const RUN_TIMEOUT_MS = 240_000;

describe('the pipeline benchmark, quick', () => {
  let directory: string;
  let output = '';
  let exitCode: number | null;
  let result: BenchmarkResult;

  // The compiled program, because its roles are processes of their own; it starts its own servers.
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
    const path = join(directory, 'result.json');
    const child = spawn(process.execPath, [MAIN, 'pipeline', '--quick', '--json', path]);
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    [exitCode] = (await once(child, 'close')) as [number | null];
    if (exitCode !== 0) throw new Error(output);
    result = JSON.parse(await readFile(path, 'utf8')) as BenchmarkResult;
  }, RUN_TIMEOUT_MS);

  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('measures both sides in a closed loop and by the clock', () => {
    expect(result.benchmark).toBe('pipeline');
    expect(result.cases.map(({ name }) => name)).toEqual(['64 connections', 'paced at 200/s']);
    for (const { rounds } of result.cases) expect(Object.keys(rounds)).toEqual(['floor', 'sluice']);
  });

  it('gives every round figures that hang together', () => {
    const rounds = result.cases.flatMap((item) => Object.values(item.rounds).flat()) as Round[];
    expect(rounds).toHaveLength(4);
    for (const { jobs, jobsPerSecond, submitMs, billedMs } of rounds) {
      expect([1_000, 200]).toContain(jobs);
      expect(jobsPerSecond).toBeGreaterThan(0);
      for (const { p50, p90, p99 } of [submitMs, billedMs]) {
        expect(p50).toBeGreaterThan(0);
        expect(p90).toBeGreaterThanOrEqual(p50);
        expect(p99).toBeGreaterThanOrEqual(p90);
      }
    }
  });

  it('counts the CPU of every role of both sides where the system tells', () => {
    const roles = ['collector', 'gateway', 'postgres', 'rabbitmq', 'redis', 'worker'];
    for (const rounds of Object.values(result.cases[0]?.rounds ?? {})) {
      const [first] = rounds as readonly Round[];
      const counted = Object.keys(first?.cpuMicrosPerJob ?? {}).sort();
      expect(counted).toEqual(process.platform === 'linux' ? roles : []);
    }
  });

  it('states the ratio of each comparable figure and the conditions', () => {
    const [throughput] = result.cases[0]?.comparisons ?? [];
    expect(throughput?.title).toContain('jobs/s');
    expect(throughput?.ratio?.median).toBeGreaterThan(0);
    expect(Object.values(result.conditions.versions)).not.toContain('unknown');
    expect(output).toContain('sluice ÷ floor');
    expect(output).toContain(result.conditions.node);
  });
});
