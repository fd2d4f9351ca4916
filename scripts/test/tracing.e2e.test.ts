import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startTraceReceiver, type ReceivedSpan, type TraceReceiver } from '@sluice/local-services';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connect } from 'amqplib';
import { call, closeClient, createTenant, mustCall, type Tenant } from '../src/client.js';
import type { Suite } from '../src/suite.js';
import { isolate, type Isolated } from './isolated-suite.js';

const PROMPT = 'nobody but the model shall ever read this sentence';
const MODEL = 'use-lite-en';

let isolated: Isolated;
let receiver: TraceReceiver;

beforeAll(async () => {
  [isolated, receiver] = await Promise.all([isolate(), startTraceReceiver()]);
}, 120_000);
afterAll(async () => {
  await closeClient();
  await isolated.close();
  await receiver.close();
});

/** A context as a caller sends it. */
function newTrace(sampled: boolean) {
  const hex = (digits: number): string =>
    Array.from({ length: digits }, () => Math.floor(Math.random() * 15 + 1).toString(16)).join('');
  const traceId = hex(32);
  const spanId = hex(16);
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${sampled ? '01' : '00'}` };
}

function submit(suite: Suite, { key }: Tenant, headers: Readonly<Record<string, string>>) {
  const body = { model: MODEL, input: PROMPT };
  return call<{ readonly id: string }>(suite.url, '/v1/jobs', { method: 'POST', key, body, headers });
}

async function finished(suite: Suite, { key }: Tenant, id: string): Promise<void> {
  const job = await mustCall<{ readonly state: string }>(suite.url, `/v1/jobs/${id}?wait=30`, { key });
  expect(job.state).toBe('succeeded');
}

/** The spans of a trace by name, once those that come last are there. */
async function spansOf(traceId: string): Promise<(name: string, service?: string) => ReceivedSpan> {
  const own = (): ReceivedSpan[] => receiver.spans.filter((span) => span.traceId === traceId);
  const last = ['send events', 'settle holds', 'process work.text.standard'];
  await receiver.until(() => last.every((name) => own().some((span) => span.name === name)));
  await receiver.until(() => own().filter(({ name }) => name === 'process results').length === 2);
  return (name, service) => {
    const found = own().filter((span) => span.name === name && (service === undefined || span.service === service));
    expect(found.map((span) => span.name)).toEqual([name]);
    return found[0] as ReceivedSpan;
  };
}

/** From a job's way to its pool to the event about its end; `way` is what its message was sent as a part of. */
function expectPathOf(the: Awaited<ReturnType<typeof spansOf>>, way: ReceivedSpan, traceId: string): void {
  const sent = the('send submissions', 'api-gateway');
  expect(sent).toMatchObject({ kind: 4, parentSpanId: way.spanId });
  expect(sent.attributes).toMatchObject({
    'messaging.system.name': 'rabbitmq',
    'messaging.operation.type': 'send',
    'messaging.destination.name': 'submissions',
    'messaging.rabbitmq.destination.routing_key': 'text.standard',
  });
  // The first job of a tenant reserves in vain before the tenant is loaded.
  const reserved = receiver.spans.find(
    (span) => span.traceId === traceId && span.attributes['sluice.reserve.outcome'] === 'reserved',
  );
  expect(reserved).toMatchObject({ name: 'reserve', kind: 3, parentSpanId: way.spanId });

  const processed = the('process work.text.standard', 'ml-worker');
  expect(processed).toMatchObject({ kind: 5, parentSpanId: sent.spanId, failed: false });
  expect(processed.attributes).toMatchObject({ 'sluice.job.state': 'succeeded', 'sluice.model': MODEL });
  const inference = the(`embeddings ${MODEL}`);
  expect(inference.parentSpanId).toBe(processed.spanId);
  expect(inference.attributes).toMatchObject({ 'gen_ai.operation.name': 'embeddings', 'gen_ai.request.model': MODEL });
  expect(the('wait for a process').parentSpanId).toBe(processed.spanId);
  const batch = the('run batch');
  expect(batch).toMatchObject({ parentSpanId: inference.spanId, links: [inference.spanId] });
  expect(Number(batch.attributes['sluice.inference.pid'])).toBeGreaterThan(1);
  expect(batch.attributes).toMatchObject({ 'sluice.batch.jobs': 1, 'sluice.batch.texts': 1 });

  const reported = the('send results', 'ml-worker');
  expect(reported.parentSpanId).toBe(processed.spanId);
  const facts = receiver.spans.filter((span) => span.traceId === traceId && span.name === 'process results');
  const accepted = facts.find(({ attributes }) => attributes['sluice.fact'] === 'accepted');
  const completed = facts.find(({ attributes }) => attributes['sluice.fact'] === 'completed');
  expect(accepted?.parentSpanId).toBe(sent.spanId);
  expect(completed?.parentSpanId).toBe(reported.spanId);
  const records = receiver.spans.filter((span) => span.traceId === traceId && span.name === 'record facts');
  const linked = records.flatMap(({ links }) => links);
  expect([...linked].sort()).toEqual(facts.map(({ spanId }) => spanId).sort());
  expect(records[0]?.attributes).toMatchObject({ 'db.system.name': 'postgresql' });
  expect(the('settle holds')).toMatchObject({ parentSpanId: completed?.spanId, kind: 3 });
  expect(the('send events').parentSpanId).toBe(completed?.spanId);
}

describe('a suite that follows the traces of its callers', () => {
  let suite: Suite;
  let tenant: Tenant;

  beforeAll(async () => {
    suite = await isolated.start({
      extra: {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        OTEL_TRACES_SAMPLER: 'parentbased_always_off',
        SLUICE_TRACE_CALLERS: 'follow',
        SLUICE_CALIBRATION: 'off',
      },
    });
    tenant = await createTenant(suite, { tenantId: 'followed', plan: 'demo' });
  }, 120_000);
  afterAll(() => suite.stop());

  it('shows a job from HTTP to its event as one trace, also to whoever hears of the event, without its text', async () => {
    const { environment } = isolated;
    const connection = await connect(environment['SLUICE_RABBITMQ_URL'] ?? '');
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'events', '#');
    const heard: Promise<[Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>]> = new Promise(
      (resolve) =>
        void channel.consume(queue, (message) => {
          if (message) resolve([JSON.parse(message.content.toString()) as never, message.properties.headers ?? {}]);
        }),
    );

    const caller = newTrace(true);
    const { status, headers, body } = await submit(suite, tenant, { ...caller, tracestate: 'vendor=42' });
    expect(status).toBe(202);
    await finished(suite, tenant, body.id);
    const the = await spansOf(caller.traceId);

    const server = the('POST /v1/jobs', 'api-gateway');
    expect(server).toMatchObject({ kind: 2, parentSpanId: caller.spanId, failed: false });
    expect(server.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/v1/jobs',
      'http.response.status_code': 202,
      'sluice.job.id': body.id,
      'sluice.tenant.id': 'followed',
    });
    expect(headers['traceresponse']).toBe(`00-${caller.traceId}-${server.spanId}-01`);
    expectPathOf(the, server, caller.traceId);

    const [event, properties] = await heard;
    const completed = receiver.spans.find(({ attributes }) => attributes['sluice.fact'] === 'completed');
    expect(event['traceparent']).toBe(`00-${caller.traceId}-${completed?.spanId}-01`);
    expect(event['tracestate']).toBe('vendor=42');
    expect(properties['traceparent']).toBe(`00-${caller.traceId}-${the('send events').spanId}-01`);
    await connection.close();
    expect(JSON.stringify(receiver.spans)).not.toContain(PROMPT);
  }, 60_000);

  it('records nothing of jobs without a sampled trace, whatever else their callers send', async () => {
    const unsampled = newTrace(false);
    const hostile = ['', 'x'.repeat(9_000), newTrace(true).traceparent.toUpperCase(), `00-${'0'.repeat(32)}-1-01`];
    const before = receiver.spans.length;
    const all = [unsampled.traceparent, ...hostile].map((traceparent) => submit(suite, tenant, { traceparent }));
    for (const { status, headers, body } of await Promise.all(all)) {
      expect({ status, traceresponse: headers['traceresponse'] }).toEqual({ status: 202, traceresponse: undefined });
      await finished(suite, tenant, body.id);
    }
    // What comes after them is exported after them.
    const later = newTrace(true);
    const { body } = await submit(suite, tenant, later);
    await finished(suite, tenant, body.id);
    await spansOf(later.traceId);
    expect(new Set(receiver.spans.slice(before).map(({ traceId }) => traceId))).toEqual(new Set([later.traceId]));
  }, 60_000);

  it('records refusals and reads, and names the trace in the log line about a failure', async () => {
    const [refused, read] = [newTrace(true), newTrace(true)];
    const { key } = tenant;
    const body = { model: 'no-such-model', input: PROMPT };
    const answer = await call(suite.url, '/v1/jobs', { method: 'POST', key, body, headers: refused });
    expect(answer.status).toBe(404);
    await call(suite.url, '/v1/models', { key, headers: read });
    await receiver.until((spans) => [refused, read].every((one) => spans.some((span) => span.traceId === one.traceId)));
    const spanOf = ({ traceId }: typeof read) =>
      receiver.spans.find((span) => span.traceId === traceId && span.kind === 2);
    expect(spanOf(refused)).toMatchObject({ failed: false });
    expect(spanOf(refused)?.attributes).toMatchObject({ 'http.response.status_code': 404 });
    expect(spanOf(read)).toMatchObject({ name: 'GET /v1/models' });
    const logs = await Promise.all(suite.apps.map(({ logFile }) => readFile(logFile, 'utf8')));
    expect(logs.join('')).not.toContain(PROMPT);
  }, 60_000);
});

describe('a suite that links the traces of its callers', () => {
  let suite: Suite;
  let tenant: Tenant;
  let userId: string;

  beforeAll(async () => {
    const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' };
    suite = await isolated.start({
      extra: { ...otlp, OTEL_TRACES_SAMPLER_ARG: '1', SLUICE_CALIBRATION: 'off' },
    });
    tenant = await createTenant(suite, { tenantId: 'linked', plan: 'demo' });
    userId = decodeURIComponent(new URL(isolated.environment['SLUICE_RABBITMQ_URL'] ?? '').username) || 'guest';
    const producer = { method: 'PUT', key: suite.adminKey, body: { tenantId: 'linked' } } as const;
    await mustCall(suite.url, `/v1/admin/producers/${userId}`, producer);
  }, 120_000);
  afterAll(() => suite.stop());

  it("shows a job from HTTP as a trace of its own, which names the caller's", async () => {
    const caller = newTrace(true);
    const { headers, body } = await submit(suite, tenant, { ...caller, tracestate: 'vendor=42' });
    await finished(suite, tenant, body.id);
    const [, traceId = ''] = String(headers['traceresponse']).split('-');
    expect(traceId).not.toBe(caller.traceId);
    const the = await spansOf(traceId);
    const server = the('POST /v1/jobs', 'api-gateway');
    expect(server).toMatchObject({ parentSpanId: '', links: [caller.spanId] });
    expectPathOf(the, server, traceId);
    expect(receiver.spans.filter((span) => span.traceId === caller.traceId)).toEqual([]);
  }, 60_000);

  it('shows a job from AMQP, answer included, as a trace of its own', async () => {
    const connection = await connect(isolated.environment['SLUICE_RABBITMQ_URL'] ?? '');
    const channel = await connection.createChannel();
    const { queue: replyTo } = await channel.assertQueue('', { exclusive: true });
    const caller = newTrace(true);
    const reply = new Promise<Readonly<Record<string, unknown>>>((resolve) => {
      void channel.consume(replyTo, (message) => resolve(message?.properties.headers ?? {}));
    });
    channel.publish('ingest', 'job', Buffer.from(JSON.stringify({ model: MODEL, input: PROMPT })), {
      ...{ userId, replyTo, messageId: 'traced', contentType: 'application/json' },
      headers: { traceparent: caller.traceparent },
    });
    const [, traceId = ''] = String((await reply)['traceparent']).split('-');
    expect(traceId).not.toBe(caller.traceId);
    const the = await spansOf(traceId);
    const ingested = the('process ingest', 'api-gateway');
    expect(ingested).toMatchObject({ kind: 5, parentSpanId: '', links: [caller.spanId] });
    expectPathOf(the, ingested, traceId);
    expect(JSON.stringify(the('send reply'))).not.toContain(replyTo);
    await connection.close();
  }, 60_000);

  it('goes on with a dead letter in its own trace, and never in that of the producer', async () => {
    const connection = await connect(isolated.environment['SLUICE_RABBITMQ_URL'] ?? '');
    const channel = await connection.createChannel();
    const caller = newTrace(true);
    channel.publish('ingest', 'their-key', Buffer.from('not json'), {
      ...{ userId, messageId: 'broken', contentType: 'application/json' },
      headers: { traceparent: caller.traceparent, tracestate: 'evil=1' },
    });
    const isDead = ({ name }: ReceivedSpan): boolean => name === 'process dead';
    await receiver.until((spans) => spans.some(isDead));
    const died = receiver.spans.find(isDead);
    const ingested = receiver.spans.find(({ spanId }) => spanId === died?.parentSpanId);
    expect(ingested).toMatchObject({ name: 'process ingest', links: [caller.spanId], traceId: died?.traceId });
    expect(receiver.spans.filter(({ traceId }) => traceId === caller.traceId)).toEqual([]);
    const { rows } = await isolated.database.query('select headers from dead_letters');
    expect(JSON.stringify(rows)).toContain(ingested?.spanId);
    expect(JSON.stringify(rows)).not.toContain(caller.traceId);
    await connection.close();
  }, 60_000);
});

describe('a suite whose collector of traces does not answer', () => {
  it('works as without tracing, tells of each span, and ends in time with exit code 0', async () => {
    const deaf = createServer((request) => void request.resume());
    await once(deaf.listen(0, '127.0.0.1'), 'listening');
    const suite = await isolated.start({
      extra: {
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(deaf.address() as AddressInfo).port}`,
        OTEL_TRACES_SAMPLER: 'always_on',
        SLUICE_DRAIN_TIMEOUT: '3s',
        SLUICE_CALIBRATION: 'off',
      },
    });
    const tenant = await createTenant(suite, { tenantId: 'unheard', plan: 'demo' });
    const jobs = await Promise.all(Array.from({ length: 40 }, () => submit(suite, tenant, {})));
    for (const { body } of jobs) await finished(suite, tenant, body.id);
    const begunMs = performance.now();
    await suite.stop();
    expect(suite.apps.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
    // One app after the other, three seconds each.
    expect(performance.now() - begunMs).toBeLessThan(20_000);
    const logs = await Promise.all(suite.apps.map(({ logFile }) => readFile(logFile, 'utf8')));
    for (const log of logs) {
      const lines = log.match(/spans could not be sent and are lost/g)?.length ?? 0;
      expect(lines >= 1 && lines <= 2).toBe(true);
      expect(log).toContain('has ended');
    }
    deaf.closeAllConnections();
    deaf.close();
  }, 120_000);
});
