import { describe, expect, it } from '@jest/globals';
import { characterModel } from '../../test/fixtures.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { createBatchings } from '../scheduling/batching.js';
import { createCostModel, UNMEASURED, type MeasuredCost } from '../scheduling/cost-model.js';
import { versionsOf, type ModelRoutes, type ServedPool } from './served-models.js';
import { createVersionCosts } from './version-costs.js';

const served = (key: string) => ({ ...characterModel(), key });
const poolOf = (routes: Readonly<Record<string, ModelRoutes>>): ServedPool => {
  const models = new Map(Object.entries(routes));
  return { pool: 'text', classes: ['standard'], models, versions: versionsOf(models) };
};
const measured: MeasuredCost = {
  curve: { perRun: 1, perText: 2, perToken: 3, perPair: 4, crowding: 5 },
  tripMs: 6,
};
const limits = { maxTokens: 1_000, maxPadding: 0.5, maxDelayMs: 5, targetLatencyMs: 50 };

/** Costs when files tell of the versions `filed`. */
function createFixture(filed: readonly string[] = []) {
  const batchings = createBatchings(limits);
  const asked: string[] = [];
  const costs = createVersionCosts({
    batchings,
    calibration: {
      async recall(models: readonly KeyedModel[]) {
        asked.push(...models.map(({ key }) => key));
        for (const { key } of models) if (filed.includes(key)) batchings.costOf(key).adopt(measured);
        return models.filter(({ key }) => !filed.includes(key));
      },
    },
  });
  const runMs = (key: string) => batchings.costOf(key).runMs(2, 10);
  return { batchings, costs, asked, runMs };
}

const ofUnmeasured = createCostModel(UNMEASURED).runMs(2, 10);
const ofMeasured = createCostModel(measured).runMs(2, 10);

describe('what versions cost that come while the worker runs', () => {
  it('is what a file tells, and files of versions that run already are not read', async () => {
    const { costs, asked, runMs } = createFixture(['b']);
    await costs.prepare(
      poolOf({ m: { main: served('a') } }),
      poolOf({ m: { main: served('b') }, n: { main: served('a') } }),
    );
    expect(asked).toEqual(['b']);
    expect(runMs('b')).toBe(ofMeasured);
  });

  it('is what the version before costs by now, when no file tells', async () => {
    const { batchings, costs, runMs } = createFixture();
    batchings.costOf('a').adopt(measured);
    batchings.costOf('a').observe(10, 20);
    expect(runMs('a')).toBeGreaterThan(ofMeasured);
    const canary = { served: served('c'), percent: 5, stickyBy: 'tenant' } as const;
    await costs.prepare(poolOf({ m: { main: served('a') } }), poolOf({ m: { main: served('b'), canary } }));
    expect([runMs('b'), runMs('c')]).toEqual([runMs('a'), runMs('a')]);
    expect(batchings.costOf('b').tripMs).toBe(measured.tripMs);
    batchings.costOf('b').observe(10, 20);
    expect(runMs('b')).toBeGreaterThan(runMs('a'));
  });

  it('is unknown of a model that was not there before', async () => {
    const { batchings, costs, runMs } = createFixture();
    batchings.costOf('a').adopt(measured);
    await costs.prepare(
      poolOf({ m: { main: served('a') } }),
      poolOf({ m: { main: served('a') }, n: { main: served('b') } }),
    );
    expect(runMs('b')).toBe(ofUnmeasured);
  });

  it('is forgotten with the version', async () => {
    const { batchings, costs } = createFixture(['a', 'b']);
    await costs.prepare(poolOf({}), poolOf({ m: { main: served('a') }, n: { main: served('b') } }));
    expect(Object.keys(batchings.detail())).toEqual(['a', 'b']);
    costs.keepOnly(poolOf({ n: { main: served('b') } }));
    expect(Object.keys(batchings.detail())).toEqual(['b']);
  });
});
