import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DefectFinding } from '../src/program/defect-hunt.js';
import type { Totals } from '../src/program/totals.js';

const SEEDS = 1_000;
/** Tens of seeds find each of those below; which of them do changes with every change of the code. */
const DEFECT_SEEDS = 600;
/** Defects that seeds find soon. The others need hundreds or thousands: `npm run simulate -- --hunt all`. */
const FOUND_SOON = [
  ...['ledger-without-key', 'bills-at-the-first-price', 'records-forget-keys', 'settlement-books-again'],
  ...['reserve-ignores-the-key', 'reserve-ignores-the-limits', 'load-forgets-open-jobs', 'load-forgets-use'],
  'settlement-is-forgotten',
];
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
  }, 300_000);

  it('is found out when it is sabotaged, and the seed replays', async () => {
    const { code, text, report } = await simulate<{ defects: DefectFinding[] }>(
      ...['--hunt', FOUND_SOON.join(','), '--seeds', String(DEFECT_SEEDS)],
    );
    expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' });
    expect(report.defects.map(({ defect }) => defect)).toEqual(FOUND_SOON);
    expect(report.defects.filter(({ finding, replayed }) => !finding || !replayed)).toEqual([]);
  }, 300_000);
});
