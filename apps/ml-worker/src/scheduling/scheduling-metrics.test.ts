import { expect, it } from '@jest/globals';
import { createMetrics } from '@sluice/telemetry';
import type { VersionLabel } from '../models/version-labels.js';
import type { QueuedText } from './running-job.js';
import { createSchedulingMetrics } from './scheduling-metrics.js';

const textOf = (tokens: number, batchable = true) =>
  ({ tokens, batchable, addedAtMs: performance.now() }) as QueuedText;

const labelOf = (key: string): VersionLabel => {
  const [model = '', version = ''] = key.replace('moved-', '').split('/');
  return (labels[key] ??= { model, version });
};
const labels: Record<string, VersionLabel> = {};

it('counts batches by model and reason, and what went into them, once', () => {
  const metrics = createMetrics();
  const scheduling = createSchedulingMetrics(metrics, labelOf);
  scheduling.begun('encoder/1', 'full', [textOf(10), textOf(7)]);
  scheduling.begun('encoder/1', 'drain', [textOf(3)]);
  scheduling.begun('int8/1', 'drain', [textOf(9, false), textOf(2, false)]);
  scheduling.ran('encoder/1', 1_500);
  scheduling.update(new Map([['encoder/1', { texts: 4, tokens: 44 }]]));
  scheduling.begun('encoder/1', 'full', [textOf(1)]);
  scheduling.update(new Map());
  expect([scheduling.meanTokens('encoder/1'), scheduling.meanTokens('other/1')]).toEqual([21 / 4, undefined]);
  const lines = metrics.render().split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'sluice_worker_batches_total{model="encoder",reason="full",version="1"} 2',
      'sluice_worker_batches_total{model="encoder",reason="drain",version="1"} 1',
      'sluice_worker_batches_total{model="int8",reason="drain",version="1"} 1',
      'sluice_worker_texts_total{model="encoder",version="1"} 4',
      'sluice_worker_tokens_total{model="encoder",version="1"} 21',
      'sluice_worker_padding_tokens_total{model="encoder",version="1"} 3',
      'sluice_worker_padding_tokens_total{model="int8",version="1"} 0',
      'sluice_worker_batch_texts_bucket{model="encoder",version="1",le="1"} 2',
      'sluice_worker_batch_texts_bucket{model="encoder",version="1",le="2"} 3',
      'sluice_worker_batch_tokens_sum{model="encoder",version="1"} 21',
      'sluice_inference_seconds_bucket{model="encoder",version="1",le="1"} 0',
      'sluice_inference_seconds_bucket{model="encoder",version="1",le="2.5"} 1',
      'sluice_inference_seconds_sum{model="encoder",version="1"} 1.5',
      'sluice_worker_queue_wait_seconds_count{model="encoder",version="1"} 4',
      'sluice_worker_waiting_texts{model="encoder",version="1"} 0',
      'sluice_worker_waiting_tokens{model="encoder",version="1"} 0',
    ]),
  );
});

it('forgets models that are gone, so that versions which come and go leave nothing behind', () => {
  const metrics = createMetrics();
  const scheduling = createSchedulingMetrics(metrics, labelOf);
  for (let version = 1; version <= 50; version += 1) {
    const model = `encoder/${version}`;
    scheduling.begun(model, 'full', [textOf(1)]);
    scheduling.update(new Map([[model, { texts: 1, tokens: 1 }]]));
    scheduling.begun(model, 'full', [textOf(1)]);
    scheduling.keepOnly(new Set([model]));
  }
  scheduling.update(new Map());
  const samples = metrics.render().match(/^sluice_worker_texts_total.*$/gm);
  expect(samples).toEqual(['sluice_worker_texts_total{model="encoder",version="50"} 2']);
  expect(metrics.render()).not.toContain('version="49"');
});

it('adds up what has the same name and number while the files of a model move to another folder', () => {
  const metrics = createMetrics();
  const scheduling = createSchedulingMetrics(metrics, labelOf);
  for (const key of ['encoder/1', 'moved-encoder/1']) scheduling.begun(key, 'full', [textOf(3)]);
  const both = new Map(['encoder/1', 'moved-encoder/1'].map((key) => [key, { texts: 2, tokens: 5 }]));
  scheduling.update(both);
  const lines = (): readonly string[] => metrics.render().split('\n');
  expect(lines()).toEqual(
    expect.arrayContaining([
      'sluice_worker_texts_total{model="encoder",version="1"} 2',
      'sluice_worker_waiting_texts{model="encoder",version="1"} 4',
      'sluice_worker_waiting_tokens{model="encoder",version="1"} 10',
    ]),
  );
  scheduling.keepOnly(new Set(['moved-encoder/1']));
  expect(lines()).toContain('sluice_worker_texts_total{model="encoder",version="1"} 2');
});
