import { expect, it } from '@jest/globals';
import { createTimeLimit } from './time-limit.js';

/** A limit of 100 ms, and a clock and a processor that move when they are told to. */
function createFixture(options: { readonly patience?: number; readonly threads?: number; readonly blind?: boolean }) {
  const { patience = 1, threads = 1, blind = false } = options;
  const at = { ms: 5_000, usedMs: 70 };
  const limit = createTimeLimit({
    ...{ limitMs: 100, patience, threads },
    usedMs: () => (blind ? undefined : at.usedMs),
    now: () => at.ms,
  });
  const pass = (ms: number, usedMs: number): readonly [number, boolean] => {
    at.ms += ms;
    at.usedMs += usedMs;
    return [limit.leftMs(), limit.isStarved()];
  };
  return pass;
}

it('is reached by the clock alone without patience', () => {
  const pass = createFixture({});
  expect([pass(60, 0), pass(40, 0)]).toEqual([
    [40, true],
    [0, false],
  ]);
});

it('is reached with patience when the process had the processor for so long', () => {
  const pass = createFixture({ patience: 10 });
  expect([pass(500, 30), pass(100, 60), pass(10, 10)]).toEqual([
    [70, true],
    [10, true],
    [0, false],
  ]);
});

it('is reached with patience at last by the clock, for a process that is starved', () => {
  const pass = createFixture({ patience: 10 });
  expect([pass(950, 20), pass(50, 1)]).toEqual([
    [50, true],
    [0, true],
  ]);
});

it('counts what each core did, and only the clock where nobody tells', () => {
  const [two, blind] = [createFixture({ patience: 10, threads: 2 }), createFixture({ patience: 10, blind: true })];
  expect([two(100, 150), two(10, 50)]).toEqual([
    [25, true],
    [0, false],
  ]);
  expect([blind(999, 500), blind(1, 1)]).toEqual([
    [1, true],
    [0, true],
  ]);
});
