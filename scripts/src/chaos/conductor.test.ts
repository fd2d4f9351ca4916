import { describe, expect, it } from '@jest/globals';
import { conduct, type ConductOptions, type FaultRecord } from './conductor.js';
import { CannotInject, type FaultKind, type PlannedFault } from './fault.js';
import { createRandom } from './random.js';
import type { World } from './world.js';

/** No fault here touches the world. */
const WORLD = {} as World;

/** A kind that notes what happens to it. */
function noting(log: string[], change: Partial<FaultKind> = {}): FaultKind {
  return {
    name: 'noted',
    weight: 1,
    targets: () => ['x'],
    durationMs: [0, 0],
    async inject(_, { number }) {
      log.push(`+${number}`);
      return async () => void log.push(`-${number}`);
    },
    ...change,
  };
}

function planned(number: number, kind: FaultKind, change: Partial<PlannedFault> = {}): PlannedFault {
  return { number, kind, target: `t${number}`, atMs: 0, durationMs: 0, random: createRandom(number), ...change };
}

function run(faults: readonly PlannedFault[], change: Partial<ConductOptions> = {}): Promise<readonly FaultRecord[]> {
  return conduct({
    ...{ world: WORLD, faults, wanted: faults.length, limitMs: 60_000, atOnce: 3 },
    signal: new AbortController().signal,
    onFault: () => undefined,
    ...change,
  });
}

describe('the conductor', () => {
  it('injects what was wanted and no more, and heals each', async () => {
    const log: string[] = [];
    const faults = [1, 2, 3, 4, 5].map((number) => planned(number, noting(log)));
    const records = await run(faults, { wanted: 3 });
    expect(records.map(({ number, outcome }) => [number, outcome])).toEqual([1, 2, 3].map((n) => [n, 'injected']));
    expect([...log].sort()).toEqual(['+1', '+2', '+3', '-1', '-2', '-3']);
    expect(records.every(({ atMs, healedAtMs }) => (healedAtMs ?? -1) >= atMs)).toBe(true);
  });

  it('goes on to further faults for those that were not possible, which do not count', async () => {
    const log: string[] = [];
    const impossible = noting(log, { inject: () => Promise.reject(new CannotInject('not here')) });
    const records = await run([planned(1, impossible), planned(2, noting(log)), planned(3, noting(log))], {
      wanted: 2,
    });
    expect(records[0]).toMatchObject({ outcome: 'skipped', reason: 'not here' });
    expect(records.filter(({ outcome }) => outcome === 'injected')).toHaveLength(2);
  });

  it('says of a fault that failed in another way, or was never healed, that it broke', async () => {
    const log: string[] = [];
    const failing = noting(log, { inject: () => Promise.reject(new Error('half done')) });
    const abort = new AbortController();
    const unhealing = noting(log, {
      inject: async () => () => {
        abort.abort();
        return Promise.reject(new Error('still ill'));
      },
    });
    expect(await run([planned(1, failing)])).toMatchObject([{ outcome: 'broken', reason: 'half done' }]);
    expect(await run([planned(1, unhealing)], { signal: abort.signal })).toMatchObject([
      { outcome: 'broken', reason: 'was not healed: still ill' },
    ]);
  });

  it('lets no two faults touch the same thing at once', async () => {
    const log: string[] = [];
    const faults = [1, 2, 3].map((number) => planned(number, noting(log), { target: 'same' }));
    await run(faults);
    expect(log).toEqual(['+1', '-1', '+2', '-2', '+3', '-3']);
  });

  it('has as many at once as allowed', async () => {
    let active = 0;
    let most = 0;
    const counting = noting([], {
      async inject() {
        most = Math.max(most, ++active);
        return async () => void active--;
      },
    });
    const faults = Array.from({ length: 12 }, (_, index) => planned(index + 1, counting, { durationMs: 5 }));
    await run(faults, { atOnce: 3 });
    expect(most).toBe(3);
  });

  it('begins nothing after the time is over, and heals at once what is there when it is told to end', async () => {
    const log: string[] = [];
    expect(await run([planned(1, noting(log))], { limitMs: 0 })).toEqual([]);
    const abort = new AbortController();
    const endless = noting(log, {
      async inject() {
        abort.abort();
        return async () => void log.push('healed');
      },
    });
    await run([planned(1, endless, { durationMs: 3_600_000 }), planned(2, endless)], { signal: abort.signal });
    expect(log).toEqual(['healed']);
  });
});
