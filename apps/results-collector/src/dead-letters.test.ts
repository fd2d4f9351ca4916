import type { Delivery } from '@sluice/broker';
import { createLogger } from '@sluice/runtime';
import type { Span, SpanOptions, TraceHeaders, Tracer } from '@sluice/telemetry';
import { describe, expect, it } from '@jest/globals';
import { acceptedMessage, completedMessage, onTheWire } from '../test/messages.js';
import { createDeadLetterHandler, endOfJob } from './dead-letters.js';
import { decodeFact } from './facts.js';

const job = acceptedMessage();
const accepted = decodeFact(onTheWire(job)).fact;
const completed = decodeFact(onTheWire(completedMessage(job))).fact;
const at = { attempt: 5, nowMs: 1_800_000_000_000 };

describe('a dead message', () => {
  it('ends the job that it is, without usage', () => {
    const death = { reason: 'inference_timeout: 30 s', source: 'work.cpu.standard' };
    expect(endOfJob(accepted, death, at)).toEqual({
      jobId: job.jobId,
      tenantId: job.tenantId,
      apiKeyId: job.apiKeyId,
      model: job.model,
      class: job.class,
      state: 'failed',
      usage: { inputTokens: 0, outputTokens: 0, cachedTokens: 0 },
      error: { code: 'inference_timeout', detail: '30 s' },
      attempt: 5,
      finishedAtMs: at.nowMs,
      // n.b. without the accepted fact, which is booked before: older collectors may take this end.
      ...{ reservedTokens: job.reservedTokens, reservedNanoUsd: 0 },
    });
  });

  it('that only told of an accepted job does not end it', () => {
    expect(endOfJob(accepted, { reason: 'delivery_limit', source: 'results' }, at)).toBeUndefined();
  });

  it('that told of a completed job does not end it once more, so that nothing goes round', () => {
    expect(endOfJob(completed, { reason: 'delivery_limit', source: 'results' }, at)).toBeUndefined();
    expect(endOfJob(completed, { reason: 'unroutable', source: undefined }, at)).toBeUndefined();
    expect(endOfJob(completed, { reason: 'rejected', source: 'work.cpu.standard' }, at)).toBeUndefined();
  });

  it('that cannot be read ends nothing', () => {
    expect(endOfJob(undefined, { reason: 'malformed_message', source: 'results' }, at)).toBeUndefined();
  });
});

describe('the trace of a dead submission', () => {
  const TRACE = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate: 'evil=1' };

  /** What is begun, and the headers that are kept, when a message of the `dead` queue has these. */
  async function handled(headers: Delivery['headers']) {
    const begun: { readonly came: TraceHeaders | undefined; readonly options: SpanOptions | undefined }[] = [];
    const nothing = (): void => undefined;
    const span = { headers: TRACE, traceId: 'a', fail: nothing, set: nothing, end: nothing };
    const tracer: Tracer = {
      records: true,
      begin(_name, came, options) {
        begun.push({ came, options });
        return span as unknown as Span;
      },
    };
    let kept: Readonly<Record<string, unknown>> | undefined;
    const handler = createDeadLetterHandler({
      accounting: { book: async () => new Map() },
      endDeadJob: async () => undefined,
      store: {
        recordDeadLetter: async (letter) => void (kept = letter.headers),
        findProducer: async () => undefined,
      },
      signal: new AbortController().signal,
      ...{ onFailure: nothing, onKept: nothing, now: async () => at.nowMs, tracer },
      logger: createLogger({ app: 'tested', level: 'silent' }),
    });
    const delivery: Delivery = {
      ...onTheWire(job),
      ...{
        userId: '',
        replyTo: '',
        correlationId: '',
        contentType: '',
        exchange: 'dead',
        attempt: 1,
        redelivered: false,
      },
      ...{ body: Buffer.from('not json'), messageId: 'their words', routingKey: 'their key', queue: 'dead', headers },
    };
    await handler(delivery, new AbortController().signal);
    return { begun, kept };
  }

  it('goes on from what the gateway wrote, without the words of the producer', async () => {
    const { begun, kept } = await handled({ ...TRACE, 'x-dead-source': 'ingest', 'x-dead-reason': 'invalid_json' });
    expect(begun.map(({ came }) => came)).toEqual([TRACE]);
    expect(JSON.stringify(begun)).not.toContain('their');
    expect(kept).toMatchObject(TRACE);
  });

  it('neither begins nor is kept where the broker moved what the producer wrote', async () => {
    const death = [{ reason: 'delivery_limit', queue: 'ingest', count: 1 }];
    const { begun, kept } = await handled({ ...TRACE, 'x-dead-source': 'work.text.standard', 'x-death': death });
    expect(begun).toEqual([]);
    expect(kept).toEqual({ 'x-dead-source': 'work.text.standard', 'x-death': death });
  });
});
