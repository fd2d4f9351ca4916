import { startTraceReceiver, type TraceReceiver } from '@sluice/local-services';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { noTracing, openTracing, type Tracing } from '../src/tracing/open-tracing.js';
import type { TracingSettings } from '../src/tracing/settings.js';
import { beginShared, follow, noTracer, within, type Span, type Tracer } from '../src/tracing/tracer.js';

const SAMPLED = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate: 'a=b' };
const UNSAMPLED = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00' };

let receiver: TraceReceiver;
let lines: { readonly facts: object; readonly message: string }[];
const opened: Tracing[] = [];

beforeEach(async () => {
  receiver = await startTraceReceiver();
  lines = [];
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((tracing) => tracing.stop()));
  await receiver.close();
});

async function open(changes: Partial<TracingSettings> = {}): Promise<Tracing> {
  const note = (facts: object, message: string): void => void lines.push({ facts, message });
  const tracing = await openTracing({
    settings: {
      url: `${receiver.endpoint}/v1/traces`,
      ...{ protocol: 'http/json', sampler: 'always_on', ratio: 1, serviceName: undefined, resource: {} },
      ...changes,
    },
    ...{ serviceName: 'tested', instanceId: 'only', logger: { info: note, warn: note } },
  });
  opened.push(tracing);
  return tracing;
}

function begun(tracer: Tracer, name = 'work'): Span {
  const span = tracer.begin(name, undefined);
  if (!span) throw new Error('it is not sampled');
  return span;
}

describe('a tracer', () => {
  it('sends what was recorded when it is stopped', async () => {
    const tracing = await open();
    const span = tracing.tracer.begin('work', SAMPLED, { kind: 'server', attributes: { size: 3 } });
    const part = span?.child('part', { kind: 'client', links: [UNSAMPLED] });
    part?.event('noticed', { at: 'once' });
    part?.fail('broker_unavailable');
    part?.end();
    span?.rename('POST /v1/jobs');
    span?.end();
    span?.end();
    await tracing.stop();
    const [child, parent] = receiver.spans;
    expect(parent).toMatchObject({
      ...{ service: 'tested', name: 'POST /v1/jobs', kind: 2, parentSpanId: '00f067aa0ba902b7', failed: false },
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    });
    expect(child).toMatchObject({
      ...{ name: 'part', kind: 3, parentSpanId: parent?.spanId, links: ['00f067aa0ba902b7'], failed: true },
      ...{ events: ['noticed'], attributes: { 'error.type': 'broker_unavailable' } },
    });
    expect(span?.headers).toEqual({ traceparent: `00-${parent?.traceId}-${parent?.spanId}-01`, tracestate: 'a=b' });
    expect(receiver.spans).toHaveLength(2);
  });

  it('posts protobuf where that is asked for', async () => {
    const tracing = await open({ protocol: 'http/protobuf' });
    begun(tracing.tracer).end();
    await tracing.stop();
    expect(receiver.others).toEqual(['/v1/traces application/x-protobuf']);
  });

  it.each([
    ['always_on', 1, [true, true, true]],
    ['always_off', 1, [false, false, false]],
    ['traceidratio', 0, [false, false, false]],
    ['traceidratio', 1, [true, true, true]],
    ['parentbased_always_on', 1, [true, true, false]],
    ['parentbased_always_off', 1, [false, true, false]],
    ['parentbased_traceidratio', 0, [false, true, false]],
  ] as const)('samples by %s of %d', async (sampler, ratio, expected) => {
    const { tracer } = await open({ sampler, ratio });
    const sampled = [undefined, SAMPLED, UNSAMPLED].map((came) => tracer.begin('work', came) !== undefined);
    expect(sampled).toEqual(expected);
  });

  it('samples about the share that it is told', async () => {
    const { tracer } = await open({ sampler: 'parentbased_traceidratio', ratio: 0.1 });
    let sampled = 0;
    for (let count = 0; count < 10_000; count++) if (tracer.begin('work', undefined)) sampled += 1;
    expect(sampled).toBeGreaterThan(700);
    expect(sampled).toBeLessThan(1_300);
  });

  it('tells once of a collector that is away, and loses no time over it when it stops', async () => {
    const tracing = await open({ url: 'http://127.0.0.1:9/v1/traces' });
    for (let count = 0; count < 10_000; count++) begun(tracing.tracer).end();
    const begunMs = performance.now();
    await tracing.stop();
    expect(performance.now() - begunMs).toBeLessThan(6_000);
    expect(lines.filter(({ message }) => message.includes('could not be sent')).length).toBeLessThanOrEqual(1);
  });
});

describe('without settings', () => {
  it('nothing is recorded', async () => {
    const logger = { info: () => undefined, warn: () => undefined };
    const tracing = await openTracing({ settings: undefined, serviceName: '', instanceId: '', logger });
    expect(tracing).toBe(noTracing);
    expect(tracing.tracer.begin('work', SAMPLED)).toBeUndefined();
    await tracing.stop();
  });

  it('a trace that came is passed on as it is, and none begins', () => {
    expect(follow(noTracer, SAMPLED, 'work')).toEqual({ headers: SAMPLED, span: undefined });
    expect(follow(noTracer, undefined, 'work')).toBeUndefined();
  });
});

describe('parts of work', () => {
  it('end and fail with it', async () => {
    const tracing = await open();
    const span = begun(tracing.tracer);
    expect(await within(span, 'good', async () => 7)).toBe(7);
    const wrong = Object.assign(new Error('quotes a prompt'), { code: 'store_unavailable' });
    await expect(within(span, 'bad', () => Promise.reject(wrong))).rejects.toBe(wrong);
    span.end();
    await tracing.stop();
    expect(receiver.spans.map(({ name, failed }) => ({ name, failed }))).toEqual([
      { name: 'good', failed: false },
      { name: 'bad', failed: true },
      { name: 'work', failed: false },
    ]);
    expect(receiver.spans[1]?.attributes).toEqual({ 'error.type': 'store_unavailable' });
  });

  it('that several share are linked to all of them, and each of the others to it', async () => {
    const tracing = await open();
    const jobs = ['a', 'b', 'c'].map((name) => begun(tracing.tracer, name));
    const shared = beginShared(jobs, 'batch');
    for (const span of [shared, ...jobs]) span?.end();
    await tracing.stop();
    const [batch, ...spans] = receiver.spans;
    expect(batch).toMatchObject({ name: 'batch', parentSpanId: spans[0]?.spanId });
    expect(batch?.links).toEqual(spans.map(({ spanId }) => spanId));
    expect(spans.map(({ links }) => links)).toEqual([[], [batch?.spanId], [batch?.spanId]]);
    expect(beginShared([], 'batch')).toBeUndefined();
  });
});
