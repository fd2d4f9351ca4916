import { expect, it } from '@jest/globals';
import { createMetrics } from '@sluice/telemetry';
import type { QueuedText } from './running-job.js';
import { createSchedulingMetrics } from './scheduling-metrics.js';

const textOf = (tokens: number, batchable = true) =>
  ({ tokens, batchable, addedAtMs: performance.now() }) as QueuedText;

it('counts batches by model and reason, and what went into them, once', () => {
  const metrics = createMetrics();
  const scheduling = createSchedulingMetrics(metrics);
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
      'sluice_worker_batches_total{model="encoder/1",reason="full"} 2',
      'sluice_worker_batches_total{model="encoder/1",reason="drain"} 1',
      'sluice_worker_batches_total{model="int8/1",reason="drain"} 1',
      'sluice_worker_texts_total{model="encoder/1"} 4',
      'sluice_worker_tokens_total{model="encoder/1"} 21',
      'sluice_worker_padding_tokens_total{model="encoder/1"} 3',
      'sluice_worker_padding_tokens_total{model="int8/1"} 0',
      'sluice_worker_batch_texts_bucket{model="encoder/1",le="1"} 2',
      'sluice_worker_batch_texts_bucket{model="encoder/1",le="2"} 3',
      'sluice_worker_batch_tokens_sum{model="encoder/1"} 21',
      'sluice_inference_seconds_bucket{model="encoder/1",le="1"} 0',
      'sluice_inference_seconds_bucket{model="encoder/1",le="2.5"} 1',
      'sluice_inference_seconds_sum{model="encoder/1"} 1.5',
      'sluice_worker_queue_wait_seconds_count{model="encoder/1"} 4',
      'sluice_worker_waiting_texts{model="encoder/1"} 0',
      'sluice_worker_waiting_tokens{model="encoder/1"} 0',
    ]),
  );
});

it('forgets models that are gone, so that versions which come and go leave nothing behind', () => {
  const metrics = createMetrics();
  const scheduling = createSchedulingMetrics(metrics);
  for (let version = 1; version <= 50; version += 1) {
    const model = `encoder/${version}`;
    scheduling.begun(model, 'full', [textOf(1)]);
    scheduling.update(new Map([[model, { texts: 1, tokens: 1 }]]));
    scheduling.begun(model, 'full', [textOf(1)]);
    scheduling.keepOnly(new Set([model]));
  }
  scheduling.update(new Map());
  const samples = metrics.render().match(/^sluice_worker_texts_total.*$/gm);
  expect(samples).toEqual(['sluice_worker_texts_total{model="encoder/50"} 2']);
  expect(metrics.render()).not.toContain('encoder/49');
});
