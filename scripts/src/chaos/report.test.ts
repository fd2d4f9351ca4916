import { describe, expect, it } from '@jest/globals';
import type { FaultRecord } from './conductor.js';
import type { Check, Verdict } from './outsider/index.js';
import { type ChaosReport, markdownOf, problemsOf } from './report.js';

function record(number: number, change: Partial<FaultRecord> = {}): FaultRecord {
  return {
    ...{ number, kind: 'FLUSHALL', target: 'redis', plannedAtMs: 0, plannedDurationMs: 0, atMs: number * 1_000 },
    ...{ healedAtMs: number * 1_000 + 1_500, outcome: 'injected' },
    ...change,
  };
}

const RIGHT: Check = { name: 'bills are right', right: true, detail: '7 bills', numbers: { bills: 7 }, offences: [] };
const WRONG: Check = {
  ...{ name: 'one key, one job', right: false, detail: 'a key has two', numbers: { keys: 3 } },
  offences: [{ what: 'two jobs', jobId: 'j-1', request: 'r-1', known: ['ledger: billed | twice'] }],
};

function verdictOf(checks: readonly Check[], complete = true): Verdict {
  const drain = { complete, durationMs: 2_000, waitedFor: complete ? '' : '3 open jobs' };
  return { right: checks.every(({ right }) => right), drain, checks };
}

function report(change: Partial<ChaosReport> = {}): ChaosReport {
  const load = { sent: 9, accepted: 8, refused: 1, unknown: 0, jobs: 8, ended: 8, heldBack: 0, answers: { 202: 8 } };
  const base = {
    ...{ seed: 5, command: 'npm run chaos -- --seed 5', startedAt: '2026-01-01T00:00:00.000Z', wantedFaults: 2 },
    ...{ conditions: { cores: 2 }, ratePerSecond: 40, faults: [record(1), record(2)], faultsTookMs: 3_500, load },
    ...{ unexpectedExits: [], verdict: verdictOf([RIGHT]) },
    ...change,
  };
  const problems = problemsOf(base);
  return { ...base, problems, right: problems.length === 0 };
}

describe('what a run proves', () => {
  it('is that everything was right when enough happened and every check is right', () => {
    expect(report().problems).toEqual([]);
  });

  it.each<[string, Partial<ChaosReport>, RegExp]>([
    ['fewer faults happened', { wantedFaults: 3 }, /2 faults happened, 3 were asked for/],
    ['faults were skipped', { faults: [record(1), record(2, { outcome: 'skipped' })] }, /1 faults happened/],
    [
      'one was not healed',
      { faults: [record(1), record(2), record(3, { outcome: 'broken', reason: 'no answer' })] },
      /fault 3 \(FLUSHALL, redis\) broke: no answer/,
    ],
    ['a check is not right', { verdict: verdictOf([RIGHT, WRONG]) }, /not so: one key, one job \(a key has two\)/],
    ['it never came to rest', { verdict: verdictOf([RIGHT], false) }, /did not come to rest: 3 open jobs/],
  ])('is nothing when %s', (_, change, problem) => {
    const { problems, right } = report(change);
    expect(problems).toEqual([expect.stringMatching(problem)]);
    expect(right).toBe(false);
  });
});

describe('the report', () => {
  it('names seed, command, conditions, kinds of faults, answers and every check', () => {
    const text = markdownOf(report());
    expect(text).toContain('# Chaos: everything was right');
    expect(text).toContain('npm run chaos -- --seed 5');
    expect(text).toContain('| cores | 2 |');
    expect(text).toContain('Faults: 2 in 3.5 s, 1 of them while another was there');
    expect(text).toContain('| FLUSHALL | 2 | 0 | 1.5 | 1.5 |');
    expect(text).toContain('| 202 | 8 |');
    expect(text).toContain('| ✓ | bills are right | 7 bills | bills 7 |');
    expect(text).not.toContain('Offences');
  });

  it('tells what is known of each offence', () => {
    const text = markdownOf(report({ verdict: verdictOf([WRONG]) }));
    expect(text).toContain('# Chaos: something was wrong');
    expect(text).toContain('- two jobs; job j-1; request r-1\n  - ledger: billed | twice');
  });
});
