import { describe, expect, it } from '@jest/globals';
import { ack, dead, retry, type Delivery, type OutgoingMessage } from '@sluice/broker';
import {
  acceptedAtMs,
  completedMessageSchema,
  HEADERS,
  MAX_ATTEMPTS,
  ServiceError,
  type AcceptedMessage,
} from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { createMetrics } from '@sluice/telemetry';
import { acceptedMessage, characterModel, deliveryOf } from '../../test/fixtures.js';
import { createCancellations } from './cancellations.js';
import { createHeldJobs } from './held-jobs.js';
import { noTracer } from '@sluice/telemetry';
import { createJobHandler } from './job-handler.js';
import { createJobMetrics } from './job-metrics.js';
import { createModelRouter } from '../models/model-router.js';
import type { Shadow } from '../models/served-models.js';
import type { ShadowedJob } from '../shadows/shadows.js';
import { isTensorWork, type Work, type WorkOutcome } from '../scheduling/running-job.js';

interface FixtureOptions {
  /** What inference comes to; the sum of each text's tokens when absent. */
  readonly run?: (work: Work) => Promise<Float32Array | WorkOutcome>;
  /** What jobs of the model are compared with. */
  readonly shadow?: Shadow;
  /** Publishes that are refused before one is confirmed. */
  readonly refusedPublishes?: number;
  /** Called at every publish. */
  readonly onPublish?: () => void;
  /** When a job is given to be compared. */
  readonly onOffer?: () => void;
  readonly clock?: { nowMs: number };
}

function createFixture({
  run,
  shadow,
  refusedPublishes = 0,
  onPublish = () => undefined,
  onOffer = () => undefined,
  clock = { nowMs: 1_000_000 },
}: FixtureOptions = {}) {
  const works: Work[] = [];
  const held = createHeldJobs();
  const published: OutgoingMessage[] = [];
  const stopping = new AbortController();
  const cancellations = createCancellations({ limit: 10, now: () => clock.nowMs });
  /** What was reported to have begun and ended, and which work was cancelled. */
  const told = { begun: [] as string[], ended: [] as string[], canceled: [] as Work[], shadowed: [] as ShadowedJob[] };
  let refusals = refusedPublishes;
  const metrics = createMetrics();
  const handler = createJobHandler({
    tracer: noTracer,
    models: createModelRouter(
      new Map([['characters', { main: characterModel({ maxInputTokens: 10 }), ...(shadow && { shadow }) }]]),
    ),
    logger: createLogger({ app: 'test', level: 'silent' }),
    clock: { now: () => clock.nowMs, accepted: () => undefined },
    stopping: stopping.signal,
    cancellations,
    held,
    notices: {
      begin: ({ jobId }) => void told.begun.push(jobId),
      end: ({ jobId }) => void told.ended.push(jobId),
      stop: () => undefined,
    },
    observer: createJobMetrics(metrics),
    shadows: {
      offer(job) {
        told.shadowed.push(job);
        onOffer();
      },
    },
    scheduler: {
      async run(work) {
        works.push(work);
        const result = run ? await run(work) : sumsOf(work);
        return result instanceof Float32Array ? { state: 'ran', rows: result } : result;
      },
      cancel: (work) => void told.canceled.push(work),
    },
    publisher: {
      async publish(message) {
        onPublish();
        if (refusals-- > 0) throw new ServiceError('broker_unavailable', 'Not now.');
        published.push(message);
      },
    },
  });
  const handle = (message: unknown, attempt = 1, lost = new AbortController().signal) =>
    handler(deliveryOf(message, { attempt }), lost);
  const handleAgain = (message: unknown, overrides: Partial<Delivery> = { redelivered: true }) =>
    handler(deliveryOf(message, overrides), new AbortController().signal);
  const cancel = ({ jobId, tenantId }: AcceptedMessage, expiresAtMs = 2_000_000) =>
    cancellations.add({ jobId, tenantId, expiresAtMs });
  const completed = () => published.map(({ body }) => completedMessageSchema.parse(JSON.parse(body.toString())));
  const counted = () =>
    metrics
      .render()
      .split('\n')
      .filter((line) => /^\w/.test(line));
  return { handle, handleAgain, cancel, told, held, works, published, completed, stopping, counted };
}

function sumsOf(work: Work): Float32Array {
  work.onStart?.();
  return Float32Array.from(isTensorWork(work) ? [] : work.sequences, (tokens) => tokens.reduce((a, b) => a + b, 0));
}

const job = (overrides: Partial<AcceptedMessage> = {}) => acceptedMessage({ expiresAtMs: 2_000_000, ...overrides });

describe('the job handler', () => {
  it('counts what becomes of jobs, what they waited and what they used', async () => {
    const codes = ['inference_crashed', 'inference_failed'] as const;
    const clock = { nowMs: 1_000_000 };
    let runs = 0;
    const run = async (work: Work) => {
      const code = codes[runs++];
      const sums = sumsOf(work);
      if (code) throw new ServiceError(code, 'No.');
      return sums;
    };
    const { handle, counted } = createFixture({ run, clock });
    const message = job({ input: ['ab', 'c'], inputTokens: 3 });
    clock.nowMs = acceptedAtMs(message) + 70;
    const later = { ...message, expiresAtMs: clock.nowMs + 10_000 };
    await handle(later); // tried again
    await handle(later, 2); // fails for good; the wait of a second attempt says nothing of the queue
    await handle(later);
    await handle(later, 5);
    await handle({ not: 'a job' });
    expect(counted()).toEqual(
      expect.arrayContaining([
        'sluice_retries_total{code="inference_crashed",tier="retry.5s"} 1',
        'sluice_worker_jobs_total{model="characters",state="failed"} 1',
        'sluice_worker_jobs_total{model="characters",state="succeeded"} 2',
        'sluice_worker_input_tokens_total{model="characters"} 6',
        'sluice_worker_output_tokens_total{model="characters"} 0',
        'sluice_worker_dead_letters_total{code="malformed_message"} 1',
        'sluice_job_queue_wait_seconds_bucket{class="interactive",model="characters",le="0.05"} 0',
        'sluice_job_queue_wait_seconds_bucket{class="interactive",model="characters",le="0.1"} 2',
        'sluice_job_queue_wait_seconds_count{class="interactive",model="characters"} 2',
      ]),
    );
  });

  it('gives a job to be compared once its fact is confirmed, and only when it succeeded', async () => {
    const shadow = {
      served: { ...characterModel(), key: 'characters/2' },
      percent: 100,
      stickyBy: 'job',
      tolerance: 0,
    } as const;
    let givenAtPublish: number | undefined;
    const onPublish = (): void => void (givenAtPublish = fixture.told.shadowed.length);
    const fixture = createFixture({ shadow, onPublish, refusedPublishes: 1 });
    const message = job({ input: ['ab', 'c'], inputTokens: 3 });
    expect(await fixture.handle(message)).toBe(ack);
    expect(givenAtPublish).toBe(0);
    expect(fixture.told.shadowed).toMatchObject([{ jobId: message.jobId, model: 'characters', shadow }]);
    expect([...(fixture.told.shadowed[0]?.rows ?? [])]).toEqual([97 + 98, 99]);
    expect(fixture.told.shadowed[0]?.sequences).toEqual([Int32Array.of(97, 98), Int32Array.of(99)]);
    await fixture.handle(job({ input: 'much too long for it', inputTokens: 20 }));
    const failing = createFixture({ shadow, run: () => Promise.reject(new ServiceError('inference_failed', 'No.')) });
    await failing.handle(job());
    expect([fixture.told.shadowed.length, failing.told.shadowed.length]).toEqual([1, 0]);
    const broken = createFixture({
      shadow,
      onOffer() {
        throw new Error('of the shadow');
      },
    });
    expect(await broken.handle(job())).toBe(ack);
    expect(broken.completed()).toMatchObject([{ state: 'succeeded' }]);
  });

  it('publishes what a job came to, with its exact tokens, before it acknowledges', async () => {
    const { handle, published, completed } = createFixture();
    const message = job({ input: ['ab', 'c'], inputTokens: 3 });
    expect(await handle(message, 2)).toBe(ack);
    expect(published).toMatchObject([
      { exchange: 'results', routingKey: 'job.completed.v1', type: 'job.completed.v1', messageId: message.jobId },
    ]);
    expect(completed()).toEqual([
      {
        ...{ jobId: message.jobId, tenantId: 'acme', apiKeyId: message.apiKeyId, model: 'characters' },
        ...{ class: 'interactive', reservedTokens: 5, reservedNanoUsd: 100 },
        accepted: { inputTokens: message.inputTokens, maxOutputTokens: 0, expiresAtMs: message.expiresAtMs },
        state: 'succeeded',
        usage: { inputTokens: 3, outputTokens: 0, cachedTokens: 0 },
        modelVersion: '1',
        output: { task: 'embedding', dimensions: 1, embeddings: ['AABDQw==', 'AADGQg=='] },
        attempt: 2,
        startedAtMs: 1_000_000,
        finishedAtMs: 1_000_000,
      },
    ]);
  });

  it('bills the real tokens when the job was accepted with another count', async () => {
    const { handle, completed } = createFixture();
    await handle(job({ input: 'abc', inputTokens: 7 }));
    expect(completed()[0]?.usage.inputTokens).toBe(3);
  });

  it.each([
    ['a body that is not JSON', Buffer.from('{'), /^malformed_message: the body is not valid JSON$/],
    ['a body that is not UTF-8 JSON', Buffer.from([0xff, 0xfe]), /^malformed_message: /],
    ['a missing field', { ...acceptedMessage(), tenantId: undefined }, /^malformed_message: tenantId: /],
    ['an unknown field', { ...acceptedMessage(), colour: 'red' }, /^malformed_message: .*colour/],
  ])('moves %s to the dead queue with the reason', async (_, body, reason) => {
    const { handle, published } = createFixture();
    expect(await handle(body)).toEqual({ kind: 'dead', reason: expect.stringMatching(reason) });
    expect(published).toEqual([]);
  });

  it('expires a job that comes after its deadline, without running or billing it', async () => {
    const { handle, works, completed } = createFixture();
    expect(await handle(job({ expiresAtMs: 999_999 }))).toBe(ack);
    expect(works).toEqual([]);
    expect(completed()).toMatchObject([{ state: 'expired', usage: { inputTokens: 0 }, error: { code: 'expired' } }]);
    expect(completed()[0]).not.toHaveProperty('modelVersion');
  });

  it('expires a job whose deadline passes while it waits for a process', async () => {
    const clock = { nowMs: 1_000_000 };
    const run = async ({ onStart }: Work) => {
      clock.nowMs = 3_000_000;
      onStart?.();
      return new Float32Array(1);
    };
    const { handle, completed } = createFixture({ run, clock });
    expect(await handle(job())).toBe(ack);
    expect(completed()).toMatchObject([{ state: 'expired', usage: { inputTokens: 0 }, finishedAtMs: 3_000_000 }]);
    expect(completed()[0]).not.toHaveProperty('startedAtMs');
  });

  it.each([
    ['an earlier delivery', { redelivered: true }],
    ['an earlier attempt', { attempt: 2 }],
  ])('leaves the end of a late job to the sweep when %s may have succeeded', async (_, overrides) => {
    const { handleAgain, works, published } = createFixture();
    expect(await handleAgain(job({ expiresAtMs: 999_999 }), overrides)).toBe(ack);
    expect(works).toEqual([]);
    expect(published).toEqual([]);
  });

  it('does the same when the deadline of a redelivered job passes while it waits for a process', async () => {
    const clock = { nowMs: 1_000_000 };
    const run = async ({ onStart }: Work) => {
      clock.nowMs = 3_000_000;
      onStart?.();
      return new Float32Array(1);
    };
    const { handleAgain, published } = createFixture({ run, clock });
    expect(await handleAgain(job())).toBe(ack);
    expect(published).toEqual([]);
  });

  it('runs a redelivered job that is in time', async () => {
    const { handleAgain, completed } = createFixture();
    expect(await handleAgain(job())).toBe(ack);
    expect(completed()).toMatchObject([{ state: 'succeeded' }]);
  });

  it('does not begin a job whose delivery was lost while it waited for a process', async () => {
    const lost = new AbortController();
    const run = async ({ onStart }: Work) => {
      lost.abort(new Error('the channel was lost'));
      onStart?.();
      return new Float32Array(1);
    };
    const { handle, published } = createFixture({ run });
    await expect(handle(job(), 1, lost.signal)).rejects.toThrow('the channel was lost');
    expect(published).toEqual([]);
  });

  it('lets a job for a model that it does not serve wait for a worker that does, then gives up', async () => {
    const { handle } = createFixture();
    expect(await handle(job({ model: 'other' }), 1)).toEqual(retry(30_000, 'model_unavailable'));
    expect(await handle(job({ model: 'other' }), 5)).toEqual(
      dead('model_unavailable: no worker of the pool serves the model'),
    );
  });

  it('lets a job that was accepted for a version that takes longer texts wait for that, then gives up', async () => {
    const { handle, works, published } = createFixture();
    const message = job({ input: ['abc', 'a'.repeat(11)], inputTokens: 14 });
    expect(await handle(message, 1)).toEqual(retry(30_000, 'model_unavailable'));
    expect(await handle(message, 5)).toEqual(dead('model_unavailable: Text 1 has 11 tokens, the model takes 10.'));
    expect([works, published]).toEqual([[], []]);
  });

  it('fails a job with a longer text than the model takes that admission did not count so, unbilled', async () => {
    const { handle, works, completed } = createFixture();
    expect(await handle(job({ input: ['abc', 'a'.repeat(11)], inputTokens: 3 }))).toBe(ack);
    expect(works).toEqual([]);
    const error = { code: 'input_too_long', detail: 'Text 1 has 11 tokens, the model takes 10.' };
    expect(completed()).toMatchObject([{ state: 'failed', usage: { inputTokens: 0 }, error }]);
  });

  it('fails a job whose text the model refuses, unbilled', async () => {
    const run = ({ onStart }: Work) => {
      onStart?.();
      return Promise.reject(new ServiceError('inference_failed', 'Refused.'));
    };
    const { handle, completed } = createFixture({ run });
    expect(await handle(job())).toBe(ack);
    expect(completed()).toMatchObject([
      { state: 'failed', usage: { inputTokens: 0 }, modelVersion: '1', error: { code: 'inference_failed' } },
    ]);
  });

  it.each([
    ['inference_crashed', 5],
    ['inference_timeout', 3],
  ] as const)('tries a job again after %s, then gives up', async (code, attempts) => {
    const { handle, published } = createFixture({ run: () => Promise.reject(new ServiceError(code, 'Gone.')) });
    expect(await handle(job(), 1)).toEqual(retry(5_000, code));
    expect(await handle(job(), 2)).toEqual(retry(30_000, code));
    expect(await handle(job(), attempts)).toEqual(dead(`${code}: Gone.`));
    expect(published).toEqual([]);
  });

  it('leaves what it does not know to the consumer, which tries again', async () => {
    const { handle, counted } = createFixture({ run: () => Promise.reject(new RangeError('A mistake.')) });
    await expect(handle(job())).rejects.toThrow('A mistake.');
    await expect(handle(job(), 2)).rejects.toThrow('A mistake.');
    await expect(handle(job(), MAX_ATTEMPTS)).rejects.toThrow('A mistake.');
    expect(counted()).toEqual(
      expect.arrayContaining([
        'sluice_retries_total{code="internal",tier="retry.5s"} 1',
        'sluice_retries_total{code="internal",tier="retry.30s"} 1',
        'sluice_retries_total{code="internal",tier="retry.5m"} 0',
        'sluice_worker_dead_letters_total{code="internal"} 1',
      ]),
    );
  });

  describe('with a request to cancel', () => {
    it('ends a job that comes later, without running or billing it', async () => {
      const { handle, cancel, works, completed, told } = createFixture();
      const message = job();
      cancel(message);
      expect(await handle(message)).toBe(ack);
      expect(works).toEqual([]);
      expect(completed()).toMatchObject([{ jobId: message.jobId, state: 'canceled', usage: { inputTokens: 0 } }]);
      expect(completed()[0]).not.toHaveProperty('modelVersion');
      expect(completed()[0]).not.toHaveProperty('error');
      expect(told.begun).toEqual([]);
    });

    it('ends a job for a model that nobody serves', async () => {
      const { handle, cancel, completed } = createFixture();
      const message = job({ model: 'other' });
      cancel(message);
      expect(await handle(message, 2)).toBe(ack);
      expect(completed()).toMatchObject([{ state: 'canceled', attempt: 2 }]);
    });

    it('runs a job of another tenant, whatever its id', async () => {
      const { handle, cancel, completed } = createFixture();
      const message = job();
      cancel({ ...message, tenantId: 'other' });
      await handle(message);
      expect(completed()).toMatchObject([{ state: 'succeeded' }]);
    });

    it('has the job in hand until its end is confirmed, running from its first text on', async () => {
      const message = job();
      const seen: unknown[] = [];
      const look = (): void => void seen.push(held.holdingOf(message));
      const run = async (work: Work) => {
        look();
        const rows = sumsOf(work);
        look();
        return rows;
      };
      const { handle, held } = createFixture({ run, onPublish: look });
      await handle(message);
      expect([seen, held.size]).toEqual([['waiting', 'running', 'running'], 0]);
    });

    it('has a job in hand no more that is tried again or died', async () => {
      const run = () => Promise.reject(new ServiceError('inference_crashed', 'It ended.'));
      const { handle, held } = createFixture({ run });
      expect(await handle(job())).toMatchObject({ kind: 'retry' });
      expect(await handle(job(), 1000)).toMatchObject({ kind: 'dead' });
      expect(held.size).toBe(0);
    });

    it('cancels the texts of a job in hand and bills those that ran', async () => {
      let cancelNow = (): void => undefined;
      const run = async (work: Work): Promise<WorkOutcome> => {
        work.onStart?.();
        cancelNow();
        return { state: 'canceled', ranTokens: 2 };
      };
      const { handle, cancel, completed, told, works } = createFixture({ run });
      const message = job({ input: ['ab', 'cde'] });
      cancelNow = () => cancel(message);
      expect(await handle(message)).toBe(ack);
      expect(told.canceled).toEqual(works);
      expect(completed()).toMatchObject([
        { state: 'canceled', usage: { inputTokens: 2, outputTokens: 0 }, modelVersion: '1', startedAtMs: 1_000_000 },
      ]);
      expect(completed()[0]).not.toHaveProperty('output');
    });

    it('takes no notice once the job has ended', async () => {
      const { handle, cancel, told } = createFixture();
      const message = job();
      await handle(message);
      cancel(message);
      expect(told).toEqual({ begun: [message.jobId], ended: [message.jobId], canceled: [], shadowed: [] });
    });
  });

  it('reports the end of a job that could not be run', async () => {
    const { handle, told } = createFixture({ run: () => Promise.reject(new ServiceError('internal', 'Gone.')) });
    const message = job();
    await handle(message);
    expect(told.ended).toEqual([message.jobId]);
  });

  it('runs the texts of a second attempt by themselves', async () => {
    const { handle, works } = createFixture();
    await handle(job(), 1);
    await handle(job(), 2);
    expect(works.map(({ alone }) => alone)).toEqual([false, true]);
  });

  it('lets those of a second attempt share runs when only the worker was to blame', async () => {
    const { handleAgain, works } = createFixture();
    const headers = { [HEADERS.retryReason]: 'model_unavailable' };
    await handleAgain(job(), { attempt: 2, headers });
    await handleAgain(job(), { attempt: 2, headers, redelivered: true });
    expect(works.map(({ alone }) => alone)).toEqual([false, true]);
  });

  it('publishes again until the broker has the result, without a second run', async () => {
    const { handle, works, published } = createFixture({ refusedPublishes: 1 });
    expect(await handle(job())).toBe(ack);
    expect(published).toHaveLength(1);
    expect(works).toHaveLength(1);
  });

  it('leaves the delivery unsettled when it cannot publish and the worker ends or the channel is gone', async () => {
    const lost = new AbortController();
    const run = async () => {
      lost.abort();
      return Float32Array.of(1);
    };
    const gone = createFixture({ run, refusedPublishes: Infinity });
    await expect(gone.handle(job(), 1, lost.signal)).rejects.toMatchObject({ code: 'broker_unavailable' });

    const ending = createFixture({ refusedPublishes: Infinity });
    ending.stopping.abort();
    await expect(ending.handle(job())).rejects.toMatchObject({ code: 'broker_unavailable' });
    const noRetry = 'sluice_retries_total{code="internal",tier="retry.5s"} 0';
    expect([gone.counted(), ending.counted()]).toEqual(Array(2).fill(expect.arrayContaining([noRetry])));
  });
});
