import { describe, expect, it } from '@jest/globals';
import { ack, type Delivery } from '@sluice/broker';
import { acceptedMessage, completedMessage, onTheWire } from '../test/messages.js';
import { createBacklog } from './backlog.js';
import { createResultsHandler } from './consumer.js';

function delivered(message: Pick<Delivery, 'type' | 'body'>): Delivery {
  return {
    messageId: '',
    routingKey: 'test',
    exchange: 'results',
    queue: 'results',
    attempt: 1,
    redelivered: false,
    headers: {},
    ...message,
  };
}

describe('the results handler', () => {
  it('tells the backlog of every delivery, also of those that cannot be read', async () => {
    let nowMs = Date.now();
    const now = (): number => nowMs;
    const backlog = createBacklog({ maxBatch: 2, now });
    const accounting = { book: async () => new Map<string, string>() };
    const handle = createResultsHandler({ accounting, backlog, signal: new AbortController().signal, now });
    const old = onTheWire(completedMessage(acceptedMessage()));
    nowMs += 60_000;
    expect(await handle([delivered(old), delivered({ type: old.type, body: Buffer.from('{') })])).toEqual([
      ack,
      { kind: 'dead', reason: 'malformed_message: body: is not valid JSON' },
    ]);
    expect(backlog.quietForMs()).toBe(0);
  });
});
