import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { modelsFileSchema } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { UnloadableModelError } from '../src/inference/inference-child.js';
import type { KeyedModel } from '../src/inference/inference-protocol.js';
import { openModelFiles } from '../src/models/model-files.js';
import { createModelRouter } from '../src/models/model-router.js';
import { createVersionLabels } from '../src/models/version-labels.js';
import { writeTinyModel } from './tiny-model.js';

const MINUTE_MS = 60_000;
/** Longer than any test advances the time. */
const SELDOM_MS = 1_000 * MINUTE_MS;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-files-'));
  for (const version of ['1', '2']) await writeTinyModel(directory, { version });
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'performance'] });
});

afterEach(async () => {
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
  await rm(directory, { recursive: true });
});

interface FixtureOptions {
  readonly pollMs?: number;
  readonly isComplete?: () => boolean;
  /** What no process can load, by its key. */
  readonly damaged?: string | undefined;
}

/** A worker's models on processes that only say whether they could be loaded. */
async function createFixture({ pollMs = SELDOM_MS, isComplete = () => true, ...options }: FixtureOptions) {
  const disk = { damaged: options.damaged };
  const modelsFile = modelsFileSchema.parse({
    pools: { text: {} },
    models: { tiny: { pool: 'text', version: 'latest' } },
  });
  const logger = createLogger({ app: 'test', level: 'silent' });
  const source = await openModelFiles(
    {
      ...{ pool: 'text', modelsFile, modelPollMs: pollMs, modelDirectory: directory },
      files: { models: async () => modelsFile, modelsLook: async () => 'the same' },
      inference: { provider: { name: 'cpu' } },
    },
    logger,
  );
  const loads: string[] = [];
  const load = (models: readonly KeyedModel[] = []): void => {
    loads.push(models.map(({ key }) => key).join());
    const guilty = models.find(({ key }) => key === disk.damaged);
    if (guilty) throw new UnloadableModelError({ model: guilty.key, reason: 'it is no model' });
  };
  const router = createModelRouter(source.served.models);
  const applied: (readonly string[])[] = [];
  const serving = source.serve({
    ...{ router, logger, isComplete },
    host: {
      leftOut: new Map(),
      start: async (models) => load(models),
      async serve(models, hooks) {
        load(models);
        hooks.onServing();
      },
    },
    costs: { prepare: async () => undefined, keepOnly: () => undefined },
    labels: createVersionLabels(),
    stillNeeded: () => false,
    onApplied: (problems) => void applied.push(problems),
  });
  await serving.start();
  await serving.watch.start();
  const version = () => router.models.get('tiny')?.main.model.version;
  /** Lets so much time pass, and what it begins come to its end. */
  const pass = async (ms: number): Promise<void> => {
    await jest.advanceTimersByTimeAsync(ms);
    // n.b. files are read for as long as the disk takes; a timer that is not set yet says that this is going on.
    while (jest.getTimerCount() < (pollMs > 0 ? 2 : 0)) await new Promise(setImmediate);
  };
  return { disk, loads, applied, version, pass, stop: () => serving.watch.stop() };
}

describe('the models of a worker', () => {
  it('are tried again when one could not be loaded, though no file has changed, until it can', async () => {
    const { disk, loads, applied, version, pass, stop } = await createFixture({ damaged: 'tiny/2' });
    expect([version(), loads]).toEqual(['1', ['tiny/2', 'tiny/1']]);
    await pass(MINUTE_MS - 1);
    expect(applied).toEqual([]);
    await pass(1);
    expect([version(), applied]).toEqual(['1', [['tiny/2 cannot be loaded: it is no model']]]);
    disk.damaged = undefined;
    await pass(2 * MINUTE_MS);
    expect([version(), applied.at(-1)]).toEqual(['2', []]);
    await pass(60 * MINUTE_MS);
    expect(applied).toHaveLength(2);
    await stop();
  });

  it('are tried again while what is compared with them is not loaded', async () => {
    const shadows = { areLoaded: false };
    const { applied, pass, stop } = await createFixture({ isComplete: () => shadows.areLoaded });
    await pass(MINUTE_MS);
    await pass(2 * MINUTE_MS);
    expect(applied).toHaveLength(2);
    shadows.areLoaded = true;
    await pass(30 * MINUTE_MS);
    expect(applied).toHaveLength(2);
    await stop();
  });

  it('are tried again only when somebody asks for it, where files are only read then', async () => {
    const { applied, pass, stop } = await createFixture({ damaged: 'tiny/2', pollMs: 0 });
    await pass(60 * MINUTE_MS);
    expect([applied, jest.getTimerCount()]).toEqual([[], 0]);
    await stop();
  });
});
