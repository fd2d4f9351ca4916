import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger } from '@sluice/runtime';
import type { KeyedModel } from '../src/inference/inference-protocol.js';
import type { Split } from '../src/scheduling/split-measurement.js';
import { findSplit, type SplitSearchOptions } from '../src/scheduling/split-search.js';
import { characterModel } from './fixtures.js';

const logger = createLogger({ app: 'test', level: 'silent' });

describe('the search for a division of the cores', () => {
  let directory: string;
  let keyed: KeyedModel;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-split-'));
    const { key, model } = characterModel();
    const modelPath = join(directory, 'model.onnx');
    await writeFile(modelPath, 'weights');
    keyed = { key, model: { ...model, directory, modelPath } };
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  const folder = () => join(directory, 'kept', 'here');

  /** Searches where runs take so long, by the number of threads; for two models, or as often as it is asked. */
  async function find(times: (threads: number, call: number) => readonly number[], overrides = {}) {
    const measured: Split[] = [];
    const options: SplitSearchOptions = {
      ...{ mode: 'auto', directory: folder(), cores: 8, models: [keyed], logger },
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

  it('takes what can be started where a process for each core cannot', async () => {
    const { found } = await find((threads) => {
      if (threads === 1) throw new Error('no memory');
      return [100];
    });
    expect(found).toEqual({ processes: 4, threads: 2 });
  });

  it('falls back to a process for each core when nothing can be measured, and does not keep that', async () => {
    const { found } = await find(() => {
      throw new Error('the model is damaged');
    });
    expect(found).toEqual({ processes: 8, threads: 1 });
    await expect(readdir(folder())).rejects.toThrow(/ENOENT/);
  });

  it('is made once for the same models and cores, and again when told to', async () => {
    const faster = table({ 1: 200, 2: 100, 4: 100 });
    expect((await find(faster)).threads).not.toEqual([]);
    expect(await find(faster)).toEqual({ found: { processes: 4, threads: 2 }, threads: [] });
    expect((await find(faster, { mode: 'always' })).threads).not.toEqual([]);
    expect((await find(faster, { cores: 4 })).found).toEqual({ processes: 2, threads: 2 });
    await writeFile(keyed.model.modelPath, 'other weights');
    expect((await find(faster)).threads).not.toEqual([]);
    expect(await readdir(folder())).toHaveLength(3);
  });

  it('is made again when its file is damaged', async () => {
    await find(table({ 1: 100, 2: 100 }));
    const [name = ''] = await readdir(folder());
    await writeFile(join(folder(), name), '{"processes": 3');
    expect((await find(table({ 1: 100, 2: 100 }))).threads).toEqual([1, 2]);
  });

  it('goes on when what it found cannot be kept', async () => {
    const { found } = await find(table({ 1: 200, 2: 100, 4: 100 }), {
      directory: join(keyed.model.modelPath, 'below'),
    });
    expect(found).toEqual({ processes: 4, threads: 2 });
  });

  it('measures nothing where all models take tensors', async () => {
    const { model } = keyed;
    const tensors = { key: 'tensors/1', model: { ...model, file: { ...model.file, task: 'tensors' } } };
    expect(await find(() => [], { models: [tensors] })).toEqual({ found: { processes: 8, threads: 1 }, threads: [] });
  });

  it('measures nothing with one core, or when calibration is off', async () => {
    expect(await find(() => [], { cores: 1 })).toEqual({ found: { processes: 1, threads: 1 }, threads: [] });
    expect(await find(() => [], { mode: 'off' })).toEqual({ found: { processes: 8, threads: 1 }, threads: [] });
  });
});
