import { describe, expect, it } from '@jest/globals';
import { modelsFileSchema, ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { characterModel } from '../../test/fixtures.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { createModelRouter } from './model-router.js';
import { createPoolReload } from './pool-reload.js';
import { versionsOf, type ServedPool } from './served-models.js';

const poolOf = (...keys: readonly string[]): ServedPool => {
  const models = new Map(keys.map((key) => [key, { main: { ...characterModel(), key } }]));
  return { pool: 'text', classes: ['interactive', 'standard', 'batch'], models, versions: versionsOf(models) };
};
const file = modelsFileSchema.parse({ pools: { text: {} }, models: {} });

/** A reload of files that say `next`, with a host that serves as `serve` does. */
function createFixture({ first = poolOf('a'), next = poolOf('b'), problems = [] as readonly string[] } = {}) {
  const router = createModelRouter(first.models);
  const asked: (readonly string[])[] = [];
  const compared: ServedPool[] = [];
  const host = {
    canServe: true,
    served: () => undefined as unknown,
    async serve(models: readonly KeyedModel[], { onServing }: { readonly onServing: () => void }) {
      asked.push(models.map(({ key }) => key));
      if (!host.canServe) throw new ServiceError('model_unavailable', 'The models could not be loaded.');
      expect([...router.models.keys()]).toEqual([...first.models.keys()]);
      onServing();
      host.served();
    },
  };
  const reload = createPoolReload({
    ...{ served: first, router, host },
    loader: {
      async reload(_file, running) {
        compared.push(running);
        return { served: next, problems };
      },
    },
    stillNeeded: () => false,
    logger: createLogger({ app: 'test', level: 'silent' }),
  });
  return { reload, router, host, asked, compared };
}

describe('a reload of the pool', () => {
  it('sends jobs by the new routes as soon as a process serves the new versions', async () => {
    const { reload, router, host, asked } = createFixture();
    host.served = () => expect([...router.models.keys()]).toEqual(['b']);
    expect(await reload(file)).toEqual([]);
    expect(asked).toEqual([['b']]);
    expect([...router.models.keys()]).toEqual(['b']);
  });

  it('leaves everything as it is when no process can serve the new versions', async () => {
    const { reload, router, host, compared } = createFixture();
    host.canServe = false;
    await expect(reload(file)).rejects.toMatchObject({ code: 'model_unavailable' });
    expect([...router.models.keys()]).toEqual(['a']);
    host.canServe = true;
    await reload(file);
    expect(compared.map(({ models }) => [...models.keys()])).toEqual([['a'], ['a']]);
  });

  it('does not touch the processes when only routes have changed', async () => {
    const first = poolOf('a');
    const models = new Map([...first.models].map(([name, routes]) => [`${name}-renamed`, routes]));
    const { reload, router, asked } = createFixture({ first, next: { ...first, models } });
    await reload(file);
    expect(asked).toEqual([]);
    expect([...router.models.keys()]).toEqual(['a-renamed']);
  });

  it('goes on from what is served then', async () => {
    const { reload, asked, compared } = createFixture();
    await reload(file);
    await reload(file);
    expect(asked).toEqual([['b']]);
    expect(compared.map(({ models }) => [...models.keys()])).toEqual([['a'], ['b']]);
  });

  it('says what is wrong, and that other classes need another start', async () => {
    const { reload } = createFixture({ problems: ['b is odd'] });
    expect(await reload(file)).toEqual(['b is odd']);
    const fewer = modelsFileSchema.parse({ pools: { text: { classes: ['standard'] } }, models: {} });
    expect(await reload(fewer)).toEqual(['b is odd', expect.stringMatching(/classes of the pool "text" have changed/)]);
  });
});
