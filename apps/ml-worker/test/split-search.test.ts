import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger } from '@sluice/runtime';
import type { Split } from '../src/scheduling/split-measurement.js';
import { findSplit, type SplitSearchOptions } from '../src/scheduling/split-search.js';
import { createWeighedModel, type WeighedModel } from './weighed-model.js';

const logger = createLogger({ app: 'test', level: 'silent' });

describe('the search for a division of the cores', () => {
  let weighed: WeighedModel;

  beforeEach(async () => {
    weighed = await createWeighedModel();
  });

  afterEach(() => weighed.remove());

  /** Searches where runs take so long, by the number of threads; for two models, or as often as it is asked. */
  async function find(times: (threads: number, call: number) => readonly number[], overrides = {}) {
    const measured: Split[] = [];
    const options: SplitSearchOptions = {
      ...{ mode: 'auto', directory: weighed.kept, cores: 8, models: [weighed.keyed], logger },
      stop: new AbortController().signal,
      measure: async (split) => {
        measured.push(split);
        return times(split.threads, measured.length);
      },
      ...overrides,
    };
    return { found: await findSplit(options), threads: measured.map(({ threads }) => threads) };
  }

  const table = (byThreads: Readonly<Record<number, number>>) => (threads: number) => [byThreads[threads] ?? NaN, 100];

  it('is over with a process for each core when fewer with two threads are not faster by a tenth', async () => {
    const { found, threads } = await find(table({ 1: 118, 2: 100 }));
    expect(found).toEqual({ processes: 8, threads: 1 });
    expect(threads).toEqual([1, 2]);
  });

  it('doubles the threads as long as that helps', async () => {
    const { found, threads } = await find(table({ 1: 300, 2: 200, 4: 100, 8: 120 }));
    expect(found).toEqual({ processes: 2, threads: 4 });
    expect(threads).toEqual([1, 2, 1, 4, 2, 8]);
  });

  it('is not misled by a machine that became quieter', async () => {
    const { found } = await find((_threads, call) => (call === 1 ? [300] : [100]));
    expect(found).toEqual({ processes: 8, threads: 1 });
  });

  it('weighs every model the same, however long its runs take', async () => {
    const { found } = await find((threads) => (threads === 1 ? [1_000, 10] : [800, 20]));
    expect(found).toEqual({ processes: 8, threads: 1 });
  });

  it('takes what can be started where a process for each core cannot, and looks again at the next start', async () => {
    const noMemory = (threads: number) => {
      if (threads === 1) throw new Error('no memory');
      return [100];
    };
    expect((await find(noMemory)).found).toEqual({ processes: 4, threads: 2 });
    expect((await find(table({ 1: 100, 2: 100 }))).found).toEqual({ processes: 8, threads: 1 });
  });

  it('does not keep what a division that could not be measured has lost to', async () => {
    const failing = (threads: number) => {
      if (threads === 2) throw new Error('no memory');
      return [100];
    };
    expect((await find(failing)).found).toEqual({ processes: 8, threads: 1 });
    await expect(readdir(weighed.kept)).rejects.toThrow(/ENOENT/);
  });

  it('goes by no measurement that could not be made again', async () => {
    const { found } = await find((threads, call) => {
      if (call === 3) throw new Error('no memory');
      return [threads === 1 ? 300 : 100];
    });
    expect(found).toEqual({ processes: 8, threads: 1 });
  });

  it('falls back to a process for each core when a model cannot be read', async () => {
    await rm(weighed.keyed.model.modelPath);
    expect(await find(() => [100])).toEqual({ found: { processes: 8, threads: 1 }, threads: [] });
  });

  it('measures nothing more when it is stopped, and keeps nothing', async () => {
    const stopping = new AbortController();
    const faster = table({ 1: 200, 2: 100, 4: 100 });
    const stopped = (threads: number, call: number) => {
      if (call === 2) stopping.abort();
      stopping.signal.throwIfAborted();
      return faster(threads);
    };
    const { found, threads } = await find(stopped, { stop: stopping.signal });
    expect(found).toEqual({ processes: 8, threads: 1 });
    expect(threads).toEqual([1, 2]);
    await expect(readdir(weighed.kept)).rejects.toThrow(/ENOENT/);
  });

  it('falls back to a process for each core when nothing can be measured, and does not keep that', async () => {
    const { found } = await find(() => {
      throw new Error('the model is damaged');
    });
    expect(found).toEqual({ processes: 8, threads: 1 });
    await expect(readdir(weighed.kept)).rejects.toThrow(/ENOENT/);
  });

  it('is made once for the same models and cores, and again when told to', async () => {
    const faster = table({ 1: 200, 2: 100, 4: 100 });
    expect((await find(faster)).threads).not.toEqual([]);
    expect(await find(faster)).toEqual({ found: { processes: 4, threads: 2 }, threads: [] });
    expect((await find(faster, { mode: 'always' })).threads).not.toEqual([]);
    expect((await find(faster, { cores: 4 })).found).toEqual({ processes: 2, threads: 2 });
    await writeFile(weighed.keyed.model.modelPath, 'other weights');
    expect((await find(faster)).threads).not.toEqual([]);
    expect(await readdir(weighed.kept)).toHaveLength(3);
  });

  it('is made again when its file is damaged', async () => {
    await find(table({ 1: 100, 2: 100 }));
    const [name = ''] = await readdir(weighed.kept);
    await writeFile(join(weighed.kept, name), '{"processes": 3');
    expect((await find(table({ 1: 100, 2: 100 }))).threads).toEqual([1, 2]);
  });

  it('goes on when what it found cannot be kept', async () => {
    const { found } = await find(table({ 1: 200, 2: 100, 4: 100 }), {
      directory: join(weighed.keyed.model.modelPath, 'below'),
    });
    expect(found).toEqual({ processes: 4, threads: 2 });
  });

  it('measures nothing where all models take tensors', async () => {
    const { model } = weighed.keyed;
    const tensors = { key: 'tensors/1', model: { ...model, file: { ...model.file, task: 'tensors' } } };
    expect(await find(() => [], { models: [tensors] })).toEqual({ found: { processes: 8, threads: 1 }, threads: [] });
  });

  it('measures nothing with one core, or when calibration is off', async () => {
    expect(await find(() => [], { cores: 1 })).toEqual({ found: { processes: 1, threads: 1 }, threads: [] });
    expect(await find(() => [], { mode: 'off' })).toEqual({ found: { processes: 8, threads: 1 }, threads: [] });
  });
});
