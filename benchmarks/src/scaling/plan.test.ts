import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { jobsPerWorker, planFor } from './plan.js';
import { CURVE_PATH, planTableFor, readService } from './scaling.js';

describe('planFor', () => {
  it('keeps two of everything that runs jobs or takes requests', () => {
    const plan = planFor(1, { mixed: 100, sentences: 1_000 });
    expect(plan).toMatchObject({ workers: 2, sentenceWorkers: 2, gateways: 2, collectors: 2, redis: 1 });
  });

  it('plans a share of what they can do', () => {
    // 10,000 × 227 µs are 2.27 cores, at 60 % 3.8; 10,000 ÷ 100 ÷ 0.7 are 142.9 workers.
    expect(planFor(10_000, { mixed: 100, sentences: 1_000 })).toMatchObject({
      workers: 143,
      sentenceWorkers: 15,
      gateways: 4,
    });
  });
});

describe('jobsPerWorker', () => {
  it('has full batches of whatever the jobs are', () => {
    const service = { processes: 2, batchTokens: 1_000, seconds: () => 0.05 };
    expect(jobsPerWorker(service, { texts: 1, tokens: 10 })).toBe(4_000);
  });
});

it('docs/03-deployment/scaling.md has the plan that the simulator prints', async () => {
  const page = readFileSync(new URL('../../../docs/03-deployment/scaling.md', import.meta.url), 'utf8');
  const rows = page.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const { head, rows: planned } = planTableFor(await readService(CURVE_PATH));
  for (const row of [head, ...planned]) expect(rows).toContainEqual(row);
});
