import { describe, expect, it } from '@jest/globals';
import { HEADERS, MAX_ATTEMPTS, RETRY_TIERS } from '@sluice/contracts';
import type { ConsumeMessage } from 'amqplib';
import { HIGHEST_ATTEMPT, keptHeaders, toDelivery, type Delivery } from './delivery.js';
import { copyOf } from './relay.js';
import { dead, retry, settlementAfterError, tierFor, type Move } from './settlement.js';

function message(properties: Record<string, unknown>): ConsumeMessage {
  return {
    content: Buffer.from('{}'),
    fields: { deliveryTag: 1, redelivered: false, exchange: 'jobs', routingKey: 'text.standard', consumerTag: 'c' },
    properties,
  } as unknown as ConsumeMessage;
}

function delivery(headers: Record<string, unknown> = {}): Delivery {
  return toDelivery(message({ type: 'job.accepted.v1', messageId: 'm1', headers }), 'work.text.standard');
}

describe('a delivery', () => {
  it.each([undefined, 'five', 0, -1, 1.5, Number.NaN, HIGHEST_ATTEMPT + 1, {}, null, true])(
    'is the first attempt when the header says %p',
    (value) => {
      expect(delivery({ [HEADERS.attempt]: value }).attempt).toBe(1);
    },
  );

  it('has empty texts for properties that are absent or of another type', () => {
    expect(toDelivery(message({ type: 7 }), 'q')).toMatchObject({
      ...{ type: '', messageId: '', userId: '', replyTo: '', correlationId: '' },
      ...{ headers: {}, attempt: 1 },
    });
  });

  it('keeps the headers of its sender in a copy, and none of the broker', () => {
    const headers = { traceparent: '00-1', n: 2, 'x-death': [{ count: 1 }], 'x-delivery-count': 3, nested: { a: 1 } };
    expect(keptHeaders({ ...headers, 'x-first-death-queue': 'q', 'x-last-death-reason': 'r' })).toEqual({
      traceparent: '00-1',
      n: 2,
    });
  });
});

describe('a settlement', () => {
  it('waits in the shortest tier that is long enough, else in the longest', () => {
    expect([0, 5_000, 5_001, 300_000, 9_000_000].map((delayMs) => tierFor(delayMs).name)).toEqual([
      'retry.5s',
      'retry.5s',
      'retry.30s',
      'retry.5m',
      'retry.5m',
    ]);
  });

  it('after an error is a longer and longer retry, and dead at the last attempt', () => {
    const delays = RETRY_TIERS.map((tier) => tier.delayMs);
    expect([1, 2, 3, 4].map((attempt) => settlementAfterError(attempt))).toEqual(
      [delays[0], delays[1], delays[2], delays[2]].map((delayMs) => ({ kind: 'retry', delayMs })),
    );
    expect(settlementAfterError(MAX_ATTEMPTS)).toEqual(dead('attempts_exhausted'));
  });

  it('of retry becomes a copy with the next attempt and the same routing key', () => {
    const copy = copyOf(delivery({ [HEADERS.attempt]: 2, tenant: 't' }), retry(1), { retryTiers: RETRY_TIERS });
    expect(copy).toMatchObject({ exchange: 'retry.5s', routingKey: 'text.standard', messageId: 'm1' });
    expect(copy.headers).toEqual({ tenant: 't', [HEADERS.attempt]: 3 });
  });

  it('of retry says why, and nothing of the reason before', () => {
    const again = delivery({ [HEADERS.attempt]: 2, [HEADERS.retryReason]: 'before' });
    const headersOf = (settlement: Move) => copyOf(again, settlement, { retryTiers: RETRY_TIERS }).headers;
    expect(headersOf(retry(1, 'inference_crashed'))).toEqual({
      [HEADERS.attempt]: 3,
      [HEADERS.retryReason]: 'inference_crashed',
    });
    expect(headersOf(retry(1))).toEqual({ [HEADERS.attempt]: 3 });
    expect(headersOf(dead('x'))).not.toHaveProperty(HEADERS.retryReason);
  });

  it('of retry waits between four fifths of the delay of its tier and all of it', () => {
    const expirations = [0, 0.5, 0.999_999].map(
      (share) => copyOf(delivery(), retry(30_000), { retryTiers: RETRY_TIERS, random: () => share }).expirationMs,
    );
    expect(expirations).toEqual([24_000, 27_000, 30_000]);
    expect(copyOf(delivery(), dead('expired'), { retryTiers: RETRY_TIERS }).expirationMs).toBeUndefined();
  });

  it.each([retry(1), dead('invalid_request')])(
    'of %j keeps who sent it and where an answer is wanted',
    (settlement) => {
      const properties = {
        userId: 'billing',
        replyTo: 'answers',
        correlationId: 'c1',
        headers: { 'x-user-id': 'admin' },
      };
      const copy = copyOf(toDelivery(message(properties), 'ingest'), settlement, { retryTiers: RETRY_TIERS });
      expect(copy).toMatchObject({ replyTo: 'answers', correlationId: 'c1', headers: { 'x-user-id': 'billing' } });
      expect(copy).not.toHaveProperty('userId');
    },
  );

  it('never takes the word of a header for who sent the message', () => {
    const copy = copyOf(delivery({ 'x-user-id': 'admin' }), dead('x'), { retryTiers: RETRY_TIERS });
    expect(copy.headers).not.toHaveProperty('x-user-id');
  });

  it('of dead becomes a copy that says why and where', () => {
    const copy = copyOf(delivery(), dead('malformed_message'), { retryTiers: RETRY_TIERS });
    expect(copy.exchange).toBe('dead');
    expect(copy.headers).toEqual({
      [HEADERS.attempt]: 1,
      [HEADERS.reason]: 'malformed_message',
      [HEADERS.source]: 'work.text.standard',
    });
  });

  it('of a submission of another service drops the trace it came with, and takes up the one that it is given', () => {
    const theirs = { traceparent: '00-theirs', tracestate: 'evil=1' };
    const own = { traceparent: '00-own' };
    const headersOf = (queue: string, settlement: Move) =>
      copyOf(toDelivery(message({ headers: theirs }), queue), settlement, { retryTiers: RETRY_TIERS }).headers;
    expect(headersOf('ingest', dead('invalid_json'))).not.toHaveProperty('traceparent');
    expect(headersOf('ingest', dead('invalid_json'))).not.toHaveProperty('tracestate');
    expect(headersOf('ingest', dead('invalid_json', own))).toMatchObject(own);
    expect(headersOf('ingest', dead('invalid_json', own))).not.toHaveProperty('tracestate');
    expect(headersOf('work.text.standard', dead('x'))).toMatchObject(theirs);
  });

  it('of retry is dead once attempts can no longer be counted', () => {
    const copy = copyOf(delivery({ [HEADERS.attempt]: HIGHEST_ATTEMPT }), retry(1), { retryTiers: RETRY_TIERS });
    expect(copy).toMatchObject({ exchange: 'dead', headers: { [HEADERS.reason]: 'attempts_exhausted' } });
  });
});
