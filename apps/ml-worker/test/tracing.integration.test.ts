import { startTraceReceiver, type ReceivedSpan, type TraceReceiver } from '@sluice/local-services';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage } from '@sluice/contracts';
import { tinyJob } from './fixtures.js';
import { openTinyRig, type TinyRig } from './tiny-rig.js';
import { SLOW } from './tiny-model.js';

const PROCESS = 'process work.text.standard';
/** Where the gateway's span of sending the job would be. */
const PARENT = '00f067aa0ba902b7';

describe('traces of a worker', () => {
  let rig: TinyRig;
  let receiver: TraceReceiver;

  beforeAll(async () => {
    rig = await openTinyRig();
    await rig.reset();
    await rig.configure("version: '1'");
  }, 120_000);
  beforeEach(async () => {
    receiver = await startTraceReceiver();
  });
  afterEach(async () => {
    await rig.release();
    await receiver.close();
  });
  afterAll(() => rig.close());

  const tracing = () => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    SLUICE_CALIBRATION: 'off',
  });

  const traceIdOf = ({ jobId }: AcceptedMessage): string => jobId.replaceAll('-', '');
  const sampled = (job: AcceptedMessage): string => `00-${traceIdOf(job)}-${PARENT}-01`;

  it('has one span of a batch, linked to each of its jobs, and each job to it', async () => {
    const jobs = Array.from({ length: 40 }, (_, index) => tinyJob(`text ${index}`));
    // In the queue before the worker is there, so that they share batches.
    await rig.submitTraced(jobs, sampled);
    const worker = await rig.worker({ ...tracing(), SLUICE_INFERENCE_PROCESSES: '1' });
    await rig.endsOf(jobs);
    expect(await worker.end('SIGTERM')).toBe(0);

    const { spans } = receiver;
    const inference = spans.filter(({ name }) => name === 'embeddings tiny');
    const batches = spans.filter(({ name }) => name === 'run batch');
    expect(spans.filter(({ name, parentSpanId }) => name === PROCESS && parentSpanId === PARENT)).toHaveLength(40);
    expect(new Set(inference.map(({ traceId }) => traceId))).toEqual(new Set(jobs.map(traceIdOf)));
    expect(batches.some(({ attributes }) => Number(attributes['sluice.batch.jobs']) > 1)).toBe(true);
    const known = new Map(inference.map((span) => [span.spanId, span]));
    for (const batch of batches) {
      expect(batch.links).toHaveLength(Number(batch.attributes['sluice.batch.jobs']));
      const [lead, ...others] = batch.links.map((spanId) => known.get(spanId));
      expect(batch).toMatchObject({ parentSpanId: lead?.spanId, traceId: lead?.traceId });
      for (const other of others) expect(other?.links).toContain(batch.spanId);
    }
    expect(batches.flatMap(({ links }) => links).sort()).toEqual([...known.keys()].sort());
  }, 60_000);

  it('shows every attempt of a job that is tried again below the same parent, and why the first one failed', async () => {
    await rig.worker({ ...tracing(), SLUICE_INFERENCE_TIMEOUT: '300ms' });
    const job = tinyJob(`stuck${SLOW}`);
    await rig.submitTraced([job], sampled);
    const attempts = (spans: readonly ReceivedSpan[]): ReceivedSpan[] => spans.filter(({ name }) => name === PROCESS);
    await receiver.until((spans) => attempts(spans).length === 2);
    for (const span of attempts(receiver.spans)) {
      expect(span).toMatchObject({ traceId: traceIdOf(job), parentSpanId: PARENT, failed: true, events: ['retry'] });
      expect(span.attributes).toMatchObject({ 'error.type': 'inference_timeout', 'sluice.job.id': job.jobId });
    }
    const [first, second] = attempts(receiver.spans);
    expect((second?.startMs ?? 0) - (first?.endMs ?? 0)).toBeGreaterThan(3_000);
    expect(receiver.spans.filter(({ name, failed }) => name === 'embeddings tiny' && failed)).toHaveLength(2);
  }, 60_000);

  it('records nothing of jobs that came without a trace, or with one that is not sampled, whatever its own sampler', async () => {
    const worker = await rig.worker({ ...tracing(), OTEL_TRACES_SAMPLER: 'parentbased_always_on' });
    const [plain, unsampled] = [tinyJob('plain'), tinyJob('unsampled')];
    await rig.submit([plain]);
    await rig.submitTraced([unsampled], (job) => sampled(job).replace(/01$/, '00'));
    await rig.endsOf([plain, unsampled]);
    expect(await worker.end('SIGTERM')).toBe(0);
    expect(receiver.spans).toEqual([]);
  }, 60_000);
});
