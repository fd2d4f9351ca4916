import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DefectFinding } from '../src/program/defect-hunt.js';
import type { Totals } from '../src/program/totals.js';

const SEEDS = 1_000;
const DEFECT_SEEDS = 400;
const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-simulation-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs the built program; its report, its exit code, and what it printed, for whoever reads a failure. */
async function simulate<T>(...args: string[]): Promise<{ code: number | null; text: string; report: T }> {
  const path = join(folder, 'report.json');
  const child = spawn(process.execPath, [program, ...args, '--report', path]);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  const report = await readFile(path, 'utf8').catch(() => 'null');
  return { code, text, report: JSON.parse(report) as T };
}

describe('the suite', () => {
  it(`holds every invariant in ${SEEDS} seeds`, async () => {
    const { code, text, report } = await simulate<Totals & { failures: unknown[]; verified: number }>(
      ...['--seeds', String(SEEDS), '--max-failures', '3'],
    );
    expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' });
    expect(report).toMatchObject({ runs: SEEDS, verified: SEEDS / 50, failures: [] });
    // A run in which nothing happens proves nothing.
    expect(report.jobs).toBeGreaterThan(2 * SEEDS);
    for (const kind of ['gateway', 'worker', 'collector']) expect(report.crashes[kind]).toBeGreaterThan(SEEDS / 20);
    expect(Object.keys(report.faults).length).toBeGreaterThan(5);
    expect(Object.values(report.checks).every((count) => count >= SEEDS)).toBe(true);
  }, 180_000);

  it('is found out when it is sabotaged, whatever the defect, and the seed replays', async () => {
    const { code, text, report } = await simulate<{ defects: DefectFinding[] }>(
      ...['--defects', '--seeds', String(DEFECT_SEEDS)],
    );
    const missed = report.defects.filter(({ finding, replayed }) => finding === undefined || !replayed);
    expect(missed.map(({ defect }) => defect)).toEqual([]);
    expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' });
    expect(report.defects.length).toBeGreaterThanOrEqual(7);
  }, 180_000);
});
