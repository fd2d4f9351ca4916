import { describe, expect, it } from '@jest/globals';
import { compare } from './comparison.js';
import { pipelineMetrics, type Round } from './figures.js';
import { formatResult, formatSpread } from './report.js';

describe('formatSpread', () => {
  it('keeps three digits that mean something', () => {
    expect(formatSpread({ median: 4485.3, min: 9.994, max: 12.34 })).toBe('4,485 [9.99 – 12.3]');
  });

  it('gives no range to a single value', () => {
    expect(formatSpread({ median: 0.9, min: 0.9, max: 0.9 })).toBe('0.90');
  });
});

describe('formatResult', () => {
  it('prints the conditions, the notes and the ratio of each case', () => {
    const latencies = { p50: 1, p90: 2, p99: 3 };
    const round = (jobsPerSecond: number): Round => ({
      jobs: 10,
      jobsPerSecond,
      submitMs: latencies,
      billedMs: latencies,
      loadGeneratorCores: 0.25,
    });
    const text = formatResult({
      benchmark: 'pipeline',
      conditions: {
        command: 'npm run bench',
        at: '2026-01-01T00:00:00.000Z',
        cores: 2,
        cpu: 'a processor',
        memoryGib: 4,
        system: 'linux x64',
        node: 'v20.20.0',
        versions: { redis: '7.0.15' },
      },
      notes: ['it was raining'],
      cases: [
        {
          name: '64 connections',
          rounds: { floor: [round(1000)], sluice: [round(900)] },
          comparisons: compare(pipelineMetrics([round(1000)]), [round(1000)], [round(900)]),
        },
      ],
    });
    expect(text).toContain('npm run bench');
    expect(text).toContain('redis 7.0.15');
    expect(text).toContain('it was raining');
    expect(text).toContain('sluice ÷ floor');
    expect(text).toMatch(/jobs\/s .* 1,000 .* 900 .* 0\.90 /);
  });
});
