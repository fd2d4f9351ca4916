import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { SeedOutcome } from '../src/program/seed-outcome.js';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const toySuite = new URL('toy-suite.mjs', import.meta.url).href;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-simulation-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs the built program on the toy suite. */
async function simulate(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [program, '--suite', toySuite, ...args]);
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...texts };
}

async function reportOf(...args: string[]): Promise<{ code: number | null; report: unknown }> {
  const path = join(folder, `${args.join('')}.json`);
  const { code } = await simulate(...args, '--report', path);
  return { code, report: JSON.parse(await readFile(path, 'utf8')) };
}

async function outcomeOf(seed: number, ...args: string[]): Promise<SeedOutcome> {
  return (await reportOf('--seed', String(seed), ...args)).report as SeedOutcome;
}

describe('the simulation program', () => {
  it('runs seeds in several processes and ends well when all invariants held', async () => {
    const { code, stdout } = await simulate('--seeds', '200', '--processes', '2', '--verify', '10');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^runs +200$/m);
    expect(stdout).toMatch(/run twice, with the same trace +20$/m);
    expect(stdout).toMatch(/^ {2}counted +200$/m);
    expect(stdout).toContain('Every invariant held.');
  });

  it('goes the same way in every process, whatever ran before', async () => {
    const { report } = await reportOf('--seeds', '100', '--processes', '1', '--verify', '1');
    expect(report).toMatchObject({ runs: 100, verified: 100, failures: [] });
    const [one, other] = [await outcomeOf(6), await outcomeOf(6)];
    expect(one.hash).toBe(other.hash);
    expect((await outcomeOf(7)).hash).not.toBe(one.hash);
  });

  it('prints every event of one seed', async () => {
    const { code, stdout } = await simulate('--seed', '4');
    const events = (await outcomeOf(4)).events;
    expect(code).toBe(0);
    expect(stdout).toContain(`${events} events`);
    expect(stdout.split('\n').filter((line) => /^\d+\.\d{3} /.test(line))).toHaveLength(events);
  });

  it('reports a failing seed with its last events and how to see it again', async () => {
    const { code, stdout } = await simulate('--seeds', '60', '--defect', 'miscounts', '--max-failures', '3');
    expect(code).toBe(1);
    expect(stdout).toMatch(/counted: 3 \(\d+, \d+, \d+\)/);
    expect(stdout).toContain('were counted for');
    expect(stdout).toMatch(/counter: count/);
    expect(stdout).toMatch(/npm run simulate -- --seed \d+ --defect miscounts/);
    expect(stdout).not.toContain('Every invariant held.');
  });

  it('crashes at every point of a seed', async () => {
    const points = (await outcomeOf(1)).crashPoints;
    const { code, report } = await reportOf('--every-point', '1', '--verify', '0');
    expect(points).toBeGreaterThan(50);
    expect(code).toBe(0);
    expect(report).toMatchObject({ runs: points, crashes: { app: points } });
  });

  it('replays a crash at a point that was chosen', async () => {
    const outcome = await outcomeOf(1, '--crash-at', '10');
    expect(outcome).toMatchObject({ crashes: { app: 1 } });
    expect(outcome.hash).not.toBe((await outcomeOf(1)).hash);
  });

  it.each([
    ['escapes', 'outside any event'],
    ['rejects', 'nobody looks'],
    ['throws', 'undefined'],
  ])('fails a run in which code %s', async (defect, detail) => {
    const outcome = await outcomeOf(1, '--defect', defect);
    expect(outcome.failure).toMatchObject({ invariant: 'error' });
    expect(outcome.failure?.detail).toContain(detail);
  });

  it('notices a run that depends on what ran before', async () => {
    const { code, stdout } = await simulate('--seeds', '100', '--defect', 'remembers', '--verify', '5');
    expect(code).toBe(1);
    expect(stdout).toContain('determinism:');
  });

  it('looks for built-in defects, and says which were not found or did not replay', async () => {
    const { code, stdout } = await simulate('--hunt', 'all', '--seeds', '40');
    expect(stdout).toMatch(/^miscounts +seed \d+: counted \(after \d+ runs\)$/m);
    expect(stdout).toMatch(/^remembers +NOT FOUND in 40 runs$/m);
    expect(code).toBe(1);
  });

  it.each([
    ['--seeds', 'many'],
    ['--crash-at', '0'],
    ['--sedes', '5'],
  ])('refuses %s %s', async (...args) => {
    const { code, stderr } = await simulate(...args);
    expect(code).toBe(2);
    expect(stderr).toContain('Usage: npm run simulate');
  });

  it('fails when a process cannot load what it shall simulate', async () => {
    const { code, stderr } = await simulate('--suite', new URL('missing.mjs', import.meta.url).href);
    expect(code).toBe(1);
    expect(stderr).toContain('while loading the suite');
  });
});
