import { describe, expect, it } from '@jest/globals';
import { modelsFileSchema, ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { characterModel } from '../../test/fixtures.js';
import { UnloadableModelError } from '../inference/inference-child.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { createModelRouter } from './model-router.js';
import type { Refused } from './pool-loader.js';
import { createPoolServing } from './pool-serving.js';
import { createVersionLabels } from './version-labels.js';
import { versionsOf, type ServedPool } from './served-models.js';

/** A folder for each version, so that one of them can be refused. */
const served = (key: string) => {
  const other = characterModel();
  return { ...other, key, model: { ...other.model, directory: `folder of ${key}` } };
};
const poolOf = (...keys: readonly string[]): ServedPool => {
  const models = new Map(keys.map((key) => [key, { main: served(key) }]));
  return { pool: 'text', classes: ['interactive', 'standard', 'batch'], models, versions: versionsOf(models) };
};
const file = modelsFileSchema.parse({ pools: { text: {} }, models: {} });

interface FixtureOptions {
  readonly first?: ServedPool;
  readonly next?: ServedPool;
  readonly problems?: readonly string[];
  /** Keys that no process can load. */
  readonly damaged?: readonly string[];
  /** Keys whose loading ends so many processes without a word. */
  readonly deadly?: Record<string, number>;
}

/** Files that say `next`, on a host that serves everything but what is damaged. */
function createFixture({
  first = poolOf('a'),
  next = poolOf('b'),
  problems = [],
  damaged = [],
  deadly = {},
}: FixtureOptions = {}) {
  const router = createModelRouter(first.models);
  const asked: (readonly string[])[] = [];
  const compared: ServedPool[] = [];
  const costs: (readonly string[])[] = [];
  const load = (models: readonly KeyedModel[]): void => {
    asked.push(models.map(({ key }) => key));
    const guilty = models.find(({ key }) => damaged.includes(key));
    if (guilty) throw new UnloadableModelError({ model: guilty.key, reason: 'it is no model' });
    const killer = models.find(({ key }) => (deadly[key] ?? 0) > 0);
    if (killer) {
      deadly[killer.key] = (deadly[killer.key] ?? 0) - 1;
      throw new UnloadableModelError({ model: killer.key, reason: 'it ended', wordless: true });
    }
    if (!host.canServe) throw new ServiceError('model_unavailable', 'The models could not be loaded.');
  };
  const host = {
    canServe: true,
    leftOut: new Map<string, string>(),
    served: () => undefined as unknown,
    start: async (models: readonly KeyedModel[] = []) => load(models),
    async serve(models: readonly KeyedModel[], { onServing }: { readonly onServing: () => void }) {
      load(models);
      expect([...router.models.keys()]).toEqual([...first.models.keys()]);
      onServing();
      host.served();
    },
  };
  /** What is refused is left out. */
  const without = (pool: ServedPool, refused: Refused = new Map()) => ({
    served: poolOf(
      ...[...pool.models].filter(([, { main }]) => !refused.has(main.model.directory)).map(([key]) => key),
    ),
    problems: [...problems, ...refused.values()],
  });
  const serving = createPoolServing({
    ...{ first: file, found: { served: first, problems }, router, host },
    loader: {
      async load(_file, refused) {
        const loaded = without(first, refused);
        if (loaded.served.models.size === 0) throw new ServiceError('model_unavailable', 'Nothing is left.');
        return loaded;
      },
      async reload(_file, running, refused) {
        compared.push(running);
        return { ...without(next, refused), served: refused?.size ? without(next, refused).served : next };
      },
    },
    costs: {
      prepare: async (_running, { versions }) => void costs.push(versions.map(({ key }) => key)),
      keepOnly: ({ versions }) => void costs.push(versions.map(({ key }) => key)),
    },
    labels: createVersionLabels(),
    stillNeeded: () => false,
    logger: createLogger({ app: 'test', level: 'silent' }),
  });
  return { serving, router, host, asked, compared, costs };
}

describe('the start of a pool', () => {
  it('serves what the files say', async () => {
    const { serving, router, asked } = createFixture({ problems: ['a is odd'] });
    expect(await serving.start()).toEqual(['a is odd']);
    expect([asked, [...router.models.keys()], serving.unloadable.size]).toEqual([[['a']], ['a'], 0]);
  });

  it('does without a version that cannot be loaded, where the files have another', async () => {
    const { serving, router, asked } = createFixture({ first: poolOf('a', 'b', 'c'), damaged: ['a', 'c'] });
    expect(await serving.start()).toEqual(['it is no model', 'it is no model']);
    expect(asked).toEqual([['a', 'b', 'c'], ['b', 'c'], ['b']]);
    expect([...router.models.keys()]).toEqual(['b']);
    expect(serving.running.versions.map(({ key }) => key)).toEqual(['b']);
    expect([...serving.unloadable]).toEqual([
      ['a', 'it is no model'],
      ['c', 'it is no model'],
    ]);
  });

  it('fails when the files have no other, or when no version is to blame', async () => {
    await expect(createFixture({ damaged: ['a'] }).serving.start()).rejects.toThrow('Nothing is left.');
    const { serving, host } = createFixture();
    host.canServe = false;
    await expect(serving.start()).rejects.toThrow('The models could not be loaded.');
  });
});

describe('a reload of the pool', () => {
  it('sends jobs by the new routes as soon as a process serves the new versions', async () => {
    const { serving, router, host, asked, costs } = createFixture();
    host.served = () => expect([...router.models.keys()]).toEqual(['b']);
    expect(await serving.reload(file)).toEqual([]);
    expect(asked).toEqual([['b']]);
    expect([...router.models.keys()]).toEqual(['b']);
    expect(costs).toEqual([['b'], ['b']]);
  });

  it('leaves everything as it is when no process can serve the new versions', async () => {
    const { serving, router, host, compared, costs } = createFixture();
    host.canServe = false;
    await expect(serving.reload(file)).rejects.toMatchObject({ code: 'model_unavailable' });
    expect([...router.models.keys()]).toEqual(['a']);
    expect(costs).toEqual([['b'], ['a']]);
    host.canServe = true;
    await serving.reload(file);
    expect(compared.map(({ models }) => [...models.keys()])).toEqual([['a'], ['a']]);
  });

  it('takes over everything but a version that cannot be loaded, and tries that one again the next time', async () => {
    const damaged = ['b'];
    const { serving, router, asked } = createFixture({ first: poolOf('a'), next: poolOf('a', 'b', 'c'), damaged });
    expect(await serving.reload(file)).toEqual(['it is no model']);
    expect(asked).toEqual([
      ['a', 'b', 'c'],
      ['a', 'c'],
    ]);
    expect([...router.models.keys()]).toEqual(['a', 'c']);
    expect([...serving.unloadable.keys()]).toEqual(['b']);
  });

  it('blames a version only for the second process that ends without a word', async () => {
    const once = createFixture({ first: poolOf('a'), next: poolOf('a', 'b'), deadly: { b: 1 } });
    expect(await once.serving.reload(file)).toEqual([]);
    expect([once.asked.length, once.serving.unloadable.size]).toEqual([2, 0]);
    const twice = createFixture({ first: poolOf('a'), next: poolOf('a', 'b', 'c'), deadly: { b: 2 } });
    expect(await twice.serving.reload(file)).toEqual(['it ended']);
    expect([...twice.router.models.keys()]).toEqual(['a', 'c']);
  });

  it('asks for the same versions again when processes had to be started without one', async () => {
    const { serving, host, asked } = createFixture({ first: poolOf('a', 'b'), next: poolOf('a', 'b') });
    host.leftOut.set('b', 'it is damaged');
    expect([...serving.unloadable]).toEqual([['b', 'it is damaged']]);
    expect(await serving.reload(file)).toEqual(['b cannot be loaded again: it is damaged']);
    expect(asked).toEqual([['a', 'b']]);
    host.served = () => host.leftOut.clear();
    expect(await serving.reload(file)).toEqual([]);
    expect(asked).toHaveLength(2);
    await serving.reload(file);
    expect(asked).toHaveLength(2);
  });

  it('does not blame a version that runs already', async () => {
    const { serving, router, asked } = createFixture({ first: poolOf('a'), next: poolOf('a', 'b'), damaged: ['a'] });
    await expect(serving.reload(file)).rejects.toMatchObject({ code: 'model_unavailable', model: 'a' });
    expect([asked.length, serving.unloadable.size]).toEqual([1, 0]);
    expect([...router.models.keys()]).toEqual(['a']);
  });

  it('does not touch the processes when only routes have changed', async () => {
    const first = poolOf('a');
    const models = new Map([...first.models].map(([name, routes]) => [`${name}-renamed`, routes]));
    const { serving, router, asked } = createFixture({ first, next: { ...first, models } });
    await serving.reload(file);
    expect(asked).toEqual([]);
    expect([...router.models.keys()]).toEqual(['a-renamed']);
  });

  it('goes on from what is served then', async () => {
    const { serving, asked, compared } = createFixture();
    await serving.reload(file);
    await serving.reload(file);
    expect(asked).toEqual([['b']]);
    expect(compared.map(({ models }) => [...models.keys()])).toEqual([['a'], ['b']]);
  });

  it('says what is wrong, and that other classes need another start', async () => {
    const { serving } = createFixture({ problems: ['b is odd'] });
    expect(await serving.reload(file)).toEqual(['b is odd']);
    const fewer = modelsFileSchema.parse({ pools: { text: { classes: ['standard'] } }, models: {} });
    expect(await serving.reload(fewer)).toEqual([
      'b is odd',
      expect.stringMatching(/classes of the pool "text" have changed/),
    ]);
  });
});
