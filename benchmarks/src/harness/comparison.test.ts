import { describe, expect, it } from '@jest/globals';
import { compare as compareBy } from './comparison.js';
import { pipelineMetrics, type Round } from './figures.js';

const latencies = { p50: 1, p90: 2, p99: 4 };

function round(jobsPerSecond: number, change: Partial<Round> = {}): Round {
  return { jobs: 10, jobsPerSecond, submitMs: latencies, billedMs: latencies, loadGeneratorCores: 0.5, ...change };
}

const compare = (baseline: readonly Round[], subject: readonly Round[]) =>
  compareBy(pipelineMetrics(baseline), baseline, subject);

const throughput = (baseline: readonly Round[], subject: readonly Round[]) => compare(baseline, subject)[0];

describe('compare', () => {
  it('takes the ratio within each round, then its median', () => {
    const comparison = throughput([round(100), round(10), round(100)], [round(90), round(20), round(110)]);
    expect(comparison?.ratio).toEqual({ median: 1.1, min: 0.9, max: 2 });
    expect(comparison?.baseline).toEqual({ median: 100, min: 10, max: 100 });
    expect(comparison?.subject).toEqual({ median: 90, min: 20, max: 110 });
  });

  it('gives no ratio of what only explains the conditions', () => {
    const comparison = compare([round(1)], [round(1)]).find(({ title }) => title.startsWith('load generator'));
    expect(comparison?.ratio).toBeUndefined();
  });

  it('gives no ratio to a baseline of zero', () => {
    const idle = { cpuMicrosPerJob: { redis: 0 } };
    const busy = { cpuMicrosPerJob: { redis: 5 } };
    const comparison = compare([round(1, idle)], [round(1, busy)]).find(({ title }) => title.includes('redis'));
    expect(comparison).toMatchObject({ baseline: { median: 0 }, subject: { median: 5 } });
    expect(comparison?.ratio).toBeUndefined();
  });

  it('adds the roles up', () => {
    const cpu = { cpuMicrosPerJob: { redis: 40, gateway: 150 } };
    const comparison = compare([round(1, cpu)], [round(1, cpu)]).find(({ title }) => title.startsWith('CPU of all'));
    expect(comparison?.subject.median).toBe(190);
  });

  it('leaves out what was not measured', () => {
    const titles = compare([round(1)], [round(1)]).map(({ title }) => title);
    expect(titles.filter((title) => title.startsWith('CPU') || title.startsWith('sent late'))).toEqual([]);
  });
});
