import { describe, expect, it } from '@jest/globals';
import { createMetrics } from '@sluice/telemetry';
import { characterModel, tensorModel } from '../test/fixtures.js';
import type { ServedModel } from './models/served-models.js';
import { createBatchings } from './scheduling/batching.js';
import { createWorkerMetrics } from './worker-metrics.js';

const limits = { maxTokens: 1_000, maxPadding: 0.5, maxDelayMs: 2, targetLatencyMs: 1_000 };
const NOTHING = { perRun: 0, perText: 0, perToken: 0, perPair: 0, crowding: 0 };
const CAPACITY = /^sluice_worker_capacity_tokens_per_second\{(.*)\} (\S+)$/gm;

function createFixture(served: Readonly<Record<string, ServedModel>>, meanTokens?: number, processes = 2) {
  const metrics = createMetrics();
  const batchings = createBatchings(limits);
  const models = new Map(Object.entries(served).map(([name, main]) => [name, { main }]));
  createWorkerMetrics({
    ...{ metrics, batchings, pool: 'text', consumers: [], host: { warm: 0, idle: 0 } },
    prefetches: () => new Map(),
    processes: () => processes,
    models: () => models,
    meanTokens: () => meanTokens,
  });
  /** By the text of the labels. */
  const capacities = () => {
    const samples = [...metrics.render().matchAll(CAPACITY)];
    return Object.fromEntries(samples.map(([, labels = '', value]) => [labels, Number(value)] as const));
  };
  return { batchings, models, capacities };
}

describe('what a worker says it could do', () => {
  it('is a speed of every model from the start, measured or not, of texts or tensors, and whatever came', () => {
    for (const meanTokens of [undefined, 0.5, 7, 1e6]) {
      const { capacities } = createFixture({ texts: characterModel(), tensors: tensorModel() }, meanTokens);
      const found = capacities();
      expect(Object.keys(found)).toEqual(['model="texts",pool="text"', 'model="tensors",pool="text"']);
      for (const value of Object.values(found)) expect(value > 0 && Number.isFinite(value)).toBe(true);
    }
  });

  it('is absent rather than something that nobody can divide by', () => {
    const texts = characterModel();
    const { batchings, capacities } = createFixture({ texts }, 7);
    batchings.costOf(texts.key).adopt({ curve: NOTHING, tripMs: 0 });
    expect(capacities()).toEqual({});
    expect(createFixture({ texts }, 7, 0).capacities()).toEqual({});
    expect(createFixture({ texts }, NaN).capacities()).toEqual({});
  });

  it('is gone together with the model', () => {
    const { models, capacities } = createFixture({ texts: characterModel(), others: characterModel() });
    capacities();
    models.delete('others');
    expect(Object.keys(capacities())).toEqual(['model="texts",pool="text"']);
  });
});
