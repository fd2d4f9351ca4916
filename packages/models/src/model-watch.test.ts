import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ModelsFile } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { createModelWatch } from './model-watch.js';

const fileOf = (...names: readonly string[]): ModelsFile => ({
  pools: { text: { classes: ['standard'] } },
  models: Object.fromEntries(names.map((name) => [name, { pool: 'text', version: '1' }])),
});

describe('the watch over model files', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  const nothing = (): void => undefined;

  /** Files that change when `disk` is changed. */
  function createFixture(everyMs = 1_000) {
    const disk = { models: fileOf('a'), look: '1', folders: '1', damaged: false, onRead: nothing, onLook: nothing };
    const applied: (readonly string[])[] = [];
    const outcomes: (readonly string[])[] = [];
    const wrong: { problems: readonly string[]; wait: Promise<void> } = { problems: [], wait: Promise.resolve() };
    const watch = createModelWatch({
      first: disk.models,
      firstProblems: () => [],
      files: {
        async models() {
          if (disk.damaged) throw new Error('models.yaml has problems');
          const read = structuredClone(disk.models);
          disk.onRead();
          return read;
        },
        async modelsLook() {
          disk.onLook();
          return disk.look;
        },
      },
      repository: { look: async (names) => `${[...names].join()} ${disk.folders}` },
      everyMs,
      async apply({ models }) {
        applied.push(Object.keys(models));
        await wrong.wait;
        return wrong.problems;
      },
      onApplied: (problems) => outcomes.push(problems),
      logger: createLogger({ app: 'test', level: 'silent' }),
    });
    return { disk, applied, outcomes, wrong, watch };
  }

  it('takes over what has changed, and nothing when nothing has', async () => {
    const { disk, applied, watch } = createFixture();
    await watch.check();
    expect(applied).toEqual([]);
    await watch.start();
    await jest.advanceTimersByTimeAsync(5_000);
    expect(applied).toEqual([['a']]);
    [disk.models, disk.look] = [fileOf('a', 'b'), '2'];
    await jest.advanceTimersByTimeAsync(5_000);
    disk.folders = '2';
    await jest.advanceTimersByTimeAsync(5_000);
    expect(applied).toEqual([['a'], ['a', 'b'], ['a', 'b']]);
    await watch.stop();
  });

  it('tries again what was refused when something changes, and not before', async () => {
    const { disk, applied, outcomes, watch } = createFixture();
    await watch.check();
    await watch.start();
    [disk.damaged, disk.look] = [true, '2'];
    await jest.advanceTimersByTimeAsync(5_000);
    expect(watch.problems).toEqual(['models.yaml has problems']);
    [disk.damaged, disk.look] = [false, '3'];
    await jest.advanceTimersByTimeAsync(1_000);
    expect(watch.problems).toEqual([]);
    expect(applied).toHaveLength(2);
    expect(outcomes).toEqual([[], ['models.yaml has problems'], []]);
    await watch.stop();
  });

  it('notices what changes while it reads', async () => {
    const { disk, applied, watch } = createFixture();
    await watch.start();
    disk.onRead = () => {
      disk.onRead = () => undefined;
      [disk.models, disk.look] = [fileOf('a', 'c'), '2'];
    };
    await jest.advanceTimersByTimeAsync(5_000);
    expect(applied).toEqual([['a'], ['a', 'c']]);
    await watch.stop();
  });

  it('takes over one state of the files after the other', async () => {
    const { applied, wrong, watch } = createFixture(0);
    let finish = (): void => undefined;
    wrong.wait = new Promise((resolve) => (finish = resolve));
    await watch.start();
    const first = watch.check();
    await jest.advanceTimersByTimeAsync(0);
    const second = watch.check();
    await jest.advanceTimersByTimeAsync(0);
    expect([applied.length, watch.busy]).toEqual([1, true]);
    finish();
    await Promise.all([first, second]);
    expect([applied.length, watch.busy]).toEqual([2, false]);
    await watch.stop();
  });

  it('takes over once what is noticed while somebody asks for it', async () => {
    const { disk, applied, wrong, watch } = createFixture();
    let finish = (): void => undefined;
    wrong.wait = new Promise((resolve) => (finish = resolve));
    await watch.start();
    let looks = 0;
    let checked = Promise.resolve();
    disk.onLook = () => {
      looks += 1;
      if (looks === 1) checked = watch.check();
    };
    await jest.advanceTimersByTimeAsync(1_000);
    finish();
    await checked;
    await jest.advanceTimersByTimeAsync(0);
    expect(applied).toHaveLength(1);
    await watch.stop();
  });

  it('looks by itself only when it has an interval, and never after its end', async () => {
    const { applied, watch } = createFixture(0);
    await watch.start();
    await jest.advanceTimersByTimeAsync(60_000);
    const other = createFixture();
    await other.watch.start();
    await other.watch.stop();
    await jest.advanceTimersByTimeAsync(60_000);
    expect([...applied, ...other.applied]).toEqual([]);
  });
});
