import { describe, expect, it, jest } from '@jest/globals';
import type { OutgoingMessage } from '@sluice/broker';
import { acceptedMessageSchema, EXCHANGES, ServiceError, type AcceptedMessage } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { createUnconfirmedFacts } from './unconfirmed-facts.js';

const logger = createLogger({ app: 'test', level: 'silent' });

function message(jobId: string): AcceptedMessage {
  return {
    ...{ jobId, tenantId: 'acme', apiKeyId: '0192f000-0000-7000-8000-000000000001', model: 'm', class: 'standard' },
    ...{ input: 'a long text', inputTokens: 3, maxOutputTokens: 0, reservedTokens: 3, expiresAtMs: 2_000_000_000_000 },
  };
}
const FIRST = '01980000-0000-7000-8000-000000000001';
const SECOND = '01980000-0000-7000-8000-000000000002';

/** A broker that is away for the first `failures` publishes. */
function setUp(failures: number) {
  const published: OutgoingMessage[] = [];
  const publish = jest.fn((outgoing: OutgoingMessage) => {
    if (publish.mock.calls.length <= failures) return Promise.reject(new ServiceError('broker_unavailable', 'away'));
    published.push(outgoing);
    return Promise.resolve();
  });
  return { published, publish, facts: createUnconfirmedFacts({ publisher: { publish }, logger }) };
}

describe('facts of jobs whose publish has no known outcome', () => {
  it('are published, without the input and to the results only, until it is confirmed', async () => {
    const { facts, published } = setUp(1);
    facts.add(message(FIRST));
    expect(facts.size).toBe(1);
    await facts.drain();
    expect(facts.size).toBe(0);
    expect(published.map(({ exchange, messageId }) => ({ exchange, messageId }))).toEqual([
      { exchange: EXCHANGES.results, messageId: FIRST },
    ]);
    const sent = acceptedMessageSchema.parse(JSON.parse(published[0]?.body.toString() ?? ''));
    expect(sent).toEqual({ ...message(FIRST), input: '' });
  });

  it('hold up a drain until then, and are tried for once for each job', async () => {
    const { facts, publish } = setUp(2);
    facts.add(message(FIRST));
    facts.add(message(FIRST));
    let drained = false;
    const drain = facts.drain().then(() => (drained = true));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(drained).toBe(false);
    await drain;
    expect(publish).toHaveBeenCalledTimes(3);
  });

  it('are given up by a stop, after one more try', async () => {
    const { facts, publish } = setUp(Infinity);
    facts.add(message(FIRST));
    facts.add(message(SECOND));
    await facts.stop();
    expect(publish).toHaveBeenCalledTimes(4);
    expect(facts.size).toBe(0);
  });
});
