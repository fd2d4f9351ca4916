import { describe, expect, it } from '@jest/globals';
import { isReservedQueue, MESSAGE_ID } from './ingest.js';
import { QUEUES, RETRY_TIERS, workQueue } from './topology.js';

describe('the queues that a reply may not go to', () => {
  it.each([
    ...Object.values(QUEUES),
    ...RETRY_TIERS.map(({ name }) => name),
    workQueue('text', 'batch'),
    'fence.x',
    'inbox.x',
  ])('include %s', (name) => expect(isReservedQueue(name)).toBe(true));

  it.each(['amq.gen-x', 'amq.rabbitmq.reply-to.g1', 'my-replies', 'working', 'results.mine'])(
    'do not include %s',
    (name) => expect(isReservedQueue(name)).toBe(false),
  );
});

it('takes message ids of 1 to 255 visible ASCII characters', () => {
  for (const id of ['a', 'x'.repeat(255), '!~']) expect(id).toMatch(MESSAGE_ID);
  for (const id of ['', 'x'.repeat(256), 'a b', 'ü', 'a\n']) expect(id).not.toMatch(MESSAGE_ID);
});
