import { describe, expect, it } from '@jest/globals';
import { cpuBetween, parseMachineStat, parseStat, readCpuTimes, sumByRole } from './cpu.js';

describe('parseStat', () => {
  it('reads parent and times behind a name that holds spaces and parentheses', () => {
    const line = '42 (a) b (c) S 7 42 42 0 -1 4194304 10 0 0 0 3 4 5 6 20 0 1 0 100 1 1';
    expect(parseStat(line)).toEqual({ parentPid: 7, cpuMicros: 180_000 });
  });
});

describe('parseMachineStat', () => {
  it('counts everything but idling and waiting, of all cores together', () => {
    const text = 'cpu  1 2 4 1000 2000 8 16 32 0 0\ncpu0 1 2 4 1000 2000 8 16 32 0 0\n';
    expect(parseMachineStat(text)).toBe(630_000);
  });
});

describe('sumByRole', () => {
  const table = new Map(
    [
      [1, 0, 9],
      [10, 1, 100],
      [11, 10, 20],
      [12, 11, 3],
      [20, 10, 50],
      [30, 1, 7],
    ].map(([pid = 0, parentPid = 0, cpuMicros = 0]) => [pid, { parentPid, cpuMicros }]),
  );

  it('adds children and grandchildren to their role', () => {
    expect(sumByRole(table, { worker: [10] })).toEqual({ worker: 173 });
  });

  it('gives a process to its nearest role and to no other', () => {
    expect(sumByRole(table, { worker: [10], inference: [11, 20] })).toEqual({ worker: 100, inference: 73 });
  });

  it('knows a role whose process is gone, with no time', () => {
    expect(sumByRole(table, { gateway: [99] })).toEqual({ gateway: 0 });
  });
});

describe('cpuBetween', () => {
  it('subtracts role by role', () => {
    expect(cpuBetween({ a: 5, b: 1 }, { a: 8, b: 1 })).toEqual({ a: 3, b: 0 });
  });
});

describe('readCpuTimes', () => {
  it('finds this very process where the system has /proc', () => {
    const times = readCpuTimes({ self: [process.pid] });
    expect(times === undefined).toBe(process.platform !== 'linux');
    if (times) expect(times['self']).toBeGreaterThan(0);
  });
});
