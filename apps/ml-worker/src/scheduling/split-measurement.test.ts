import { describe, expect, it } from '@jest/globals';
import { characterModel } from '../../test/fixtures.js';
import { createSplitMeasurement, type MeasuredHost, type Split } from './split-measurement.js';

const { key, model } = characterModel();

const loadTimeoutMs = 60_000;

/** A measurement whose processes take as many turns of the event loop as a run has texts; and what was asked of them. */
function createFixture({ fails = false, stop = new AbortController().signal } = {}) {
  const hosts: { split: Split; mostAtOnce: number; runs: number; stopped: boolean }[] = [];
  const hostOf = (split: Split): MeasuredHost => {
    const host = { split, mostAtOnce: 0, runs: 0, stopped: false };
    hosts.push(host);
    let busy = 0;
    return {
      get idle() {
        return split.processes - busy;
      },
      start: async () => undefined,
      stop: async () => void (host.stopped = true),
      async run(_key, sequences) {
        if (fails) throw new Error('the process ended');
        busy += 1;
        host.runs += 1;
        host.mostAtOnce = Math.max(host.mostAtOnce, busy);
        for (let turn = 0; turn < sequences.length; turn++) await new Promise(setImmediate);
        busy -= 1;
        const ms = sequences.reduce((sum, { length }) => sum + length, 50) / 100;
        return { rows: new Float32Array(0), computeMs: ms, cpuMs: ms };
      },
    };
  };
  return { hosts, measure: createSplitMeasurement({ models: [{ key, model }], hostOf, loadTimeoutMs, stop }) };
}

describe('the measurement of a division of the cores', () => {
  it('keeps all processes busy, and stops them', async () => {
    const { hosts, measure } = createFixture();
    const [ms] = await measure({ processes: 3, threads: 1 });
    expect(ms).toBeGreaterThan(0);
    expect(hosts).toMatchObject([{ mostAtOnce: 3, stopped: true }]);
  });

  it('gives every division the runs that were chosen with the first', async () => {
    const { hosts, measure } = createFixture();
    for (const processes of [4, 2, 1]) await measure({ processes, threads: 4 / processes });
    const [, half, one] = hosts;
    expect(half?.runs).toBeGreaterThan(0);
    expect(one?.runs).toBe(half?.runs);
  });

  it('stops processes that do not get through, and says so', async () => {
    const { hosts, measure } = createFixture({ fails: true });
    await expect(measure({ processes: 2, threads: 1 })).rejects.toThrow('the process ended');
    expect(hosts).toMatchObject([{ stopped: true }]);
  });

  /** Processes that are never warm, or only the first of which is, until they are stopped. */
  function createSlowHost(idle: number): MeasuredHost {
    let isOver: (reason: Error) => void;
    const start = new Promise<void>((resolve, reject) => {
      isOver = reject;
      if (idle > 0) resolve();
    });
    const stop = async () => isOver(new Error('the processes were stopped'));
    return { idle, start: () => start, stop, run: () => Promise.reject(new Error('no process')) };
  }

  it.each([
    ['no process is', 0],
    ['not all processes are', 1],
  ])('ends at once when it is stopped while %s warm', async (_how, idle) => {
    const stopping = new AbortController();
    const models = [{ key, model }];
    const hostOf = () => createSlowHost(idle);
    const measure = createSplitMeasurement({ models, hostOf, loadTimeoutMs, stop: stopping.signal });
    const measured = measure({ processes: 2, threads: 1 });
    stopping.abort();
    await expect(measured).rejects.toThrow();
    await expect(measure({ processes: 2, threads: 1 })).rejects.toThrow();
  });

  it('waits for all processes no longer than one may take to load its models', async () => {
    const hostOf = () => createSlowHost(1);
    const stop = new AbortController().signal;
    const measure = createSplitMeasurement({ models: [{ key, model }], hostOf, loadTimeoutMs: 20, stop });
    await expect(measure({ processes: 2, threads: 1 })).rejects.toThrow('not all inference processes became warm');
  });
});
