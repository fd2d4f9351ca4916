import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startTraceReceiver, type TraceReceiver } from '@sluice/local-services';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { noTracing, openTracing, type Tracing } from '../src/tracing/open-tracing.js';
import { tracingEnvironment, type TracingSettings } from '../src/tracing/settings.js';
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

async function open(changes: Partial<TracingSettings> = {}, { begins = true } = {}): Promise<Tracing> {
  const note = (facts: object, message: string): void => void lines.push({ facts, message });
  const tracing = await openTracing({
    settings: {
      url: `${receiver.endpoint}/v1/traces`,
      ...{
        protocol: 'http/json',
        timeoutMs: 10_000,
        sampler: 'always_on',
        ratio: 1,
        serviceName: undefined,
        resource: {},
      },
      ...changes,
    },
    ...{ serviceName: 'tested', instanceId: 'only', begins, logger: { info: note, warn: note } },
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

  it.each(['always_on', 'always_off', 'traceidratio'] as const)(
    'records what came sampled and nothing else where traces do not begin, with %s',
    async (sampler) => {
      const { tracer } = await open({ sampler, ratio: 0 }, { begins: false });
      const recorded = [undefined, SAMPLED, UNSAMPLED].map((came) => follow(tracer, came, 'work')?.span !== undefined);
      expect(recorded).toEqual([false, true, false]);
      expect(tracer.begin('work', undefined)).toBeUndefined();
    },
  );

  it('goes on only with what came sampled, whatever its own sampler would take', async () => {
    const { tracer } = await open({ sampler: 'always_on' });
    expect(follow(tracer, UNSAMPLED, 'work')).toEqual({ headers: UNSAMPLED, span: undefined });
  });

  it('samples about the share that it is told', async () => {
    const { tracer } = await open({ sampler: 'parentbased_traceidratio', ratio: 0.1 });
    let sampled = 0;
    for (let count = 0; count < 10_000; count++) if (tracer.begin('work', undefined)) sampled += 1;
    expect(sampled).toBeGreaterThan(700);
    expect(sampled).toBeLessThan(1_300);
  });

  it.each([
    ['nothing', {}, 0.01],
    ['none of the traces', { OTEL_TRACES_SAMPLER_ARG: '0' }, 0],
    ['all of the traces', { OTEL_TRACES_SAMPLER_ARG: '1' }, 1],
  ])('sends what settings that ask for %s say', async (_what, variables, share) => {
    const { tracing: settings } = tracingEnvironment.parse({
      ...{ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
      ...variables,
    });
    const logger = { info: () => undefined, warn: () => undefined };
    const tracing = await openTracing({ settings, serviceName: '', instanceId: '', begins: true, logger });
    opened.push(tracing);
    for (let count = 0; count < 1_000; count++) tracing.tracer.begin('work', undefined)?.end();
    await tracing.stop();
    // Of a hundredth some 10 ± 3 are expected.
    expect(receiver.spans.length).toBeGreaterThanOrEqual(share === 0.01 ? 1 : 1_000 * share);
    expect(receiver.spans.length).toBeLessThanOrEqual(share === 0.01 ? 40 : 1_000 * share);
  });
});

describe('spans that do not arrive', () => {
  /** How many lines tell of, and in how many lines. */
  function told(): { readonly spans: number; readonly lines: number } {
    const found = lines.filter(({ message }) => message.includes('are lost'));
    const counts = found.map(({ facts }) => (facts as { readonly spans: number }).spans);
    return { spans: counts.reduce((sum, count) => sum + count, 0), lines: found.length };
  }

  /** A collector that does as it is told with what it is sent. */
  async function collector(answer: (response: ServerResponse) => void) {
    const server = createServer((request, response) => void request.resume().once('end', () => answer(response)));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
      async close() {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }

  it.each<[string, (response: ServerResponse) => void]>([
    ['refuses them', (response) => response.writeHead(400).end('no')],
    ['does not answer', () => undefined],
    ['never ends its answer', (response) => response.writeHead(200).flushHeaders()],
    [
      'takes none of them',
      (response) => response.end('{"partialSuccess":{"rejectedSpans":"100","errorMessage":"full"}}'),
    ],
  ])('are told of, all of them and in two lines at most, when the collector %s', async (_how, answer) => {
    const server = await collector((response) => answer(response.setHeader('content-type', 'application/json')));
    const tracing = await open({ url: server.url, timeoutMs: 300 });
    // The first batch is sent at once; the others wait, and what does not find room is dropped.
    const waves = _how === 'takes none of them' ? 1 : 30;
    for (let count = 0; count < 100 * waves; count++) begun(tracing.tracer).end();
    const begunMs = performance.now();
    await tracing.stop();
    expect(performance.now() - begunMs).toBeLessThan(4_000);
    const { spans, lines: count } = told();
    expect({ spans, fewLines: count >= 1 && count <= 2 }).toEqual({ spans: 100 * waves, fewLines: true });
    await server.close();
  });

  it('are told of when nobody listens, within the time that a stop is given', async () => {
    const tracing = await open({ url: 'http://127.0.0.1:9/v1/traces' });
    for (let count = 0; count < 10_000; count++) begun(tracing.tracer).end();
    const begunMs = performance.now();
    await tracing.stop(500);
    expect(performance.now() - begunMs).toBeLessThan(2_000);
    expect(told().spans).toBe(10_000);
  });

  it('are none when all arrive', async () => {
    const tracing = await open();
    for (let count = 0; count < 1_000; count++) begun(tracing.tracer).end();
    await tracing.stop();
    expect(receiver.spans).toHaveLength(1_000);
    expect(told()).toEqual({ spans: 0, lines: 0 });
  });
});

describe('without settings', () => {
  it('nothing is recorded', async () => {
    const logger = { info: () => undefined, warn: () => undefined };
    const tracing = await openTracing({ settings: undefined, serviceName: '', instanceId: '', begins: true, logger });
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

  it('that more share than a span has links for keep the first of them, and say how many they were', async () => {
    const tracing = await open();
    const jobs = Array.from({ length: 300 }, () => begun(tracing.tracer));
    beginShared(jobs, 'batch')?.end();
    await tracing.stop();
    const [batch] = receiver.spans;
    expect(batch?.links).toHaveLength(128);
    expect(batch?.links[0]).toBe(batch?.parentSpanId);
    expect(Number(batch?.attributes['sluice.shared_by'])).toBe(300);
  });
});
