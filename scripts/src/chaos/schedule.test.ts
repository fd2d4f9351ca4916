import { describe, expect, it } from '@jest/globals';
import { type Cast, type FaultKind, NOTHING_TO_HEAL, type PlannedFault } from './fault.js';
import { FAULT_KINDS } from './faults/index.js';
import { createRandom } from './random.js';
import { schedule, type ScheduleOptions } from './schedule.js';

const CAST: Cast = { gateways: ['g1', 'g2'], workers: ['w1', 'w2'], collectors: ['c1', 'c2'] };

function kind(name: string, weight: number, targets = ['x']): FaultKind {
  return { name, weight, targets: () => targets, durationMs: [10, 20], inject: async () => NOTHING_TO_HEAL };
}

function first(count: number, options: Partial<ScheduleOptions> = {}): readonly PlannedFault[] {
  const faults: PlannedFault[] = [];
  for (const fault of schedule({ seed: 1, cast: CAST, kinds: FAULT_KINDS, spacingMs: 1_000, ...options })) {
    faults.push(fault);
    if (faults.length === count) break;
  }
  return faults;
}

/** Everything of a fault, what it draws included. */
function shown({ kind: { name }, random, ...rest }: PlannedFault) {
  return { ...rest, name, drawn: [random.next(), random.between(1, 1_000)] };
}

describe('the schedule of faults', () => {
  it('is the same for the same seed, whatever faults draw, and another for another', () => {
    const once = first(200).map(shown);
    const again = first(200).map((fault) => {
      const told = shown(fault);
      fault.random.next();
      return told;
    });
    expect(again).toEqual(once);
    expect(first(200, { seed: 2 }).map(shown)).not.toEqual(once);
  });

  it('has every kind, and every target of each, in the long run', () => {
    const faults = first(20_000);
    const met = new Set(faults.map(({ kind: { name }, target }) => `${name}/${target}`));
    const all = FAULT_KINDS.flatMap((each) => each.targets(CAST).map((target) => `${each.name}/${target}`));
    expect(met).toEqual(new Set(all));
  });

  it('keeps the spacing on average, in order of time', () => {
    const times = first(1_001).map(({ atMs }) => atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect((times.at(-1) ?? 0) / 1_000).toBeGreaterThan(950);
    expect((times.at(-1) ?? 0) / 1_000).toBeLessThan(1_050);
  });

  it('chooses kinds by weight and leaves out those that nobody can be hit by', () => {
    const faults = first(4_000, { kinds: [kind('often', 3), kind('seldom', 1), kind('never', 100, [])] });
    const often = faults.filter(({ kind: { name } }) => name === 'often').length;
    expect(faults.filter(({ kind: { name } }) => name === 'never')).toEqual([]);
    expect(often).toBeGreaterThan(2_850);
    expect(often).toBeLessThan(3_150);
  });

  it('begins with each kind once when asked to', () => {
    const names = first(FAULT_KINDS.length, { eachKindFirst: true }).map(({ kind: { name } }) => name);
    expect(names).toEqual(FAULT_KINDS.map(({ name }) => name));
  });

  it('keeps durations within those of the kind', () => {
    for (const { kind: own, durationMs } of first(2_000)) {
      expect(durationMs).toBeGreaterThanOrEqual(own.durationMs[0]);
      expect(durationMs).toBeLessThanOrEqual(own.durationMs[1]);
    }
  });
});

describe('random numbers', () => {
  it('reach both ends of a range and nothing beyond', () => {
    const random = createRandom(7);
    expect(new Set(Array.from({ length: 500 }, () => random.between(3, 6)))).toEqual(new Set([3, 4, 5, 6]));
  });

  it('are not changed by what a fork draws', () => {
    const [one, other] = [createRandom(9), createRandom(9)];
    const fork = one.fork();
    for (let count = 0; count < 10; count++) fork.next();
    other.fork();
    expect(one.next()).toBe(other.next());
  });

  it('refuse to pick from nothing', () => {
    expect(() => createRandom(1).pick([])).toThrow('nothing');
  });
});
