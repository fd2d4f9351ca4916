import { describe, expect, it } from '@jest/globals';
import { gatherEvidence } from '../src/chaos/outsider/evidence.js';
import { runChecks } from '../src/chaos/outsider/judge.js';
import type { Drain } from '../src/chaos/outsider/verdict.js';
import { addJob, partsOf, rightRun, type MadeUpRun } from './chaos-verdict-run.js';
import { booked, CHECKS, entry, seen, shown, VIOLATIONS, type CheckKey } from './chaos-verdict-violations.js';

const DRAINED: Drain = { complete: true, durationMs: 1, waitedFor: '' };

function wrongOf(run: MadeUpRun, drain = DRAINED): readonly string[] {
  return runChecks(gatherEvidence(partsOf(run)), drain)
    .filter(({ right }) => !right)
    .flatMap(({ offences }) => offences.map(({ what }) => what));
}

describe('the verdict', () => {
  it('finds nothing wrong with a run that was right', () => {
    expect(wrongOf(rightRun())).toEqual([]);
  });

  it('has a violation for each of its checks', () => {
    const names = runChecks(gatherEvidence(partsOf(rightRun())), DRAINED).map(({ name }) => name);
    expect(names.sort()).toEqual(Object.values(CHECKS).sort());
    const tested = new Set<CheckKey>(VIOLATIONS.flatMap(([, , found]) => found));
    expect([...tested].sort()).toEqual(Object.keys(CHECKS).sort());
  });

  it.each(VIOLATIONS)('finds it when %s', (_what, said, found, falsify) => {
    const run = rightRun();
    falsify(run);
    const wrong = runChecks(gatherEvidence(partsOf(run)), DRAINED).filter(({ right }) => !right);
    expect(wrong.map(({ name }) => name).sort()).toEqual(found.map((name) => CHECKS[name]).sort());
    const first = wrong.find(({ name }) => found[0] && name === CHECKS[found[0]]);
    expect(first?.offences.map(({ what }) => what).join('\n')).toMatch(said);
  });

  it('finds a drain that did not come to its end', () => {
    expect(wrongOf(rightRun(), { complete: false, durationMs: 9, waitedFor: '3 open jobs' })).toEqual([
      'the drain waits for 3 open jobs',
    ]);
  });

  it('lets use that was booked as overage pass a quota', () => {
    const run = rightRun();
    shown(run, 'tokens-per-day').max = 150;
    shown(run, 'tokens-per-day').overage = 50;
    Object.assign(entry(run, 'plain', 2), { reservedTokens: 50, overageTokens: 50 });
    expect(wrongOf(run)).toEqual([]);
  });

  it('takes a job of an unknown answer for explained, and an open answer from before the end for late', () => {
    const run = rightRun();
    addJob(run, { name: 'found', afterMs: 30_000 });
    run.events = run.events.filter((event) => !('request' in event && event.request === 'found'));
    booked(run, 'found').request = 'lost';
    shown(run, 'tokens-per-day').max = 300;
    shown(run, 'tokens-per-day').used = 300;
    shown(run, 'money-per-month').used = 4_500;
    const end = seen(run, 'plain');
    run.events.push({ ...end, state: 'running', askedAtMs: end.atMs - 1, atMs: end.atMs + 1 });
    expect(wrongOf(run)).toEqual([]);
  });

  it('says of an offending job all that is known about it', () => {
    const run = rightRun();
    entry(run, 'plain', 2).state = 'failed';
    const [check] = runChecks(gatherEvidence(partsOf(run)), DRAINED).filter(({ right }) => !right);
    expect(check?.offences[0]).toMatchObject({ jobId: 'job-plain', request: 'plain' });
    expect(check?.offences[0]?.known.join('\n')).toMatch(/sent: .*answered: .*poll .*final .*jobs: .*ledger: /s);
  });
});
