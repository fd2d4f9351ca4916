import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { kindsNamed } from '../src/chaos/faults/index.js';
import type { ChaosReport } from '../src/chaos/report.js';
import { runChaos } from '../src/chaos/run.js';
import { closeClient } from '../src/client.js';

/** One of every sort; those that any machine can have. */
const KINDS = [
  ...['kill RabbitMQ', 'kill gateway', 'kill worker', 'kill collector', 'kill inference process'],
  ...['kill Redis', 'kill PostgreSQL', 'pause app', 'reset connections', 'black hole', 'FLUSHALL'],
  ...['RabbitMQ memory alarm', 'PostgreSQL ends all sessions'],
];
const LONG_MS = 420_000;

let directory: string;
let report: ChaosReport;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-chaos-'));
  report = await runChaos({
    ...{
      directory,
      seed: 4,
      faults: KINDS.length,
      minutes: 4,
      spacingMs: 2_500,
      rate: 25,
      kinds: kindsNamed(KINDS),
      keep: false,
    },
    ...{ command: 'the test', report: () => undefined, signal: new AbortController().signal },
  });
}, LONG_MS);
afterAll(async () => {
  await closeClient();
  await rm(directory, { recursive: true, force: true });
});

describe('a short chaos run', () => {
  it('finds everything right after faults of every sort', () => {
    expect(report.problems).toEqual([]);
    expect(report.right).toBe(true);
    expect(report.verdict.checks.length).toBeGreaterThan(10);
  });

  it('breaks what it was told to, each healed', () => {
    const injected = report.faults.filter(({ outcome }) => outcome === 'injected');
    expect(injected.length).toBeGreaterThanOrEqual(KINDS.length);
    expect(injected.every(({ atMs, healedAtMs }) => healedAtMs !== undefined && healedAtMs >= atMs)).toBe(true);
    expect(new Set(injected.map(({ kind }) => kind)).size).toBeGreaterThan(KINDS.length - 3);
  });

  it('leaves reports, answers and logs, and no data', async () => {
    const written = JSON.parse(await readFile(join(directory, 'report.json'), 'utf8')) as ChaosReport;
    expect(written).toEqual(JSON.parse(JSON.stringify(report)));
    expect(await readFile(join(directory, 'report.md'), 'utf8')).toContain('everything was right');
    expect((await readFile(join(directory, 'observations.ndjson'), 'utf8')).split('\n').length).toBeGreaterThan(100);
    expect(existsSync(join(directory, 'logs/api-gateway-2.log'))).toBe(true);
    expect(existsSync(join(directory, 'services/slot-1/redis'))).toBe(false);
  });
});
