import { describe, expect, it } from '@jest/globals';
import { createSharedRuns } from './shared-runs.js';

describe('shared runs', () => {
  function counting(): { call: () => Promise<number>; end: (how?: 'failed') => Promise<void>; began: () => number } {
    let began = 0;
    let settle: (how?: 'failed') => void = () => undefined;
    const call = createSharedRuns(() => {
      const number = ++began;
      return new Promise<number>((resolve, reject) => {
        settle = (how) => (how === undefined ? resolve(number) : reject(new Error(`run ${number}`)));
      });
    });
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    return {
      call,
      began: () => began,
      async end(how) {
        await turn();
        settle(how);
        await turn();
      },
    };
  }

  it('give a call during a run the next one, and all calls until that begins the same', async () => {
    const { call, end, began } = counting();
    const first = call();
    await new Promise((resolve) => setImmediate(resolve));
    const others = Promise.all([call(), call(), call()]);
    expect(began()).toBe(1);
    await end();
    await end();
    await expect(first).resolves.toBe(1);
    await expect(others).resolves.toEqual([2, 2, 2]);
    expect(began()).toBe(2);
  });

  it('go on after a run that failed, and only its own callers see that', async () => {
    const { call, end } = counting();
    const first = expect(call()).rejects.toThrow('run 1');
    await new Promise((resolve) => setImmediate(resolve));
    const second = call();
    await end('failed');
    await end();
    await first;
    await expect(second).resolves.toBe(2);
  });
});
