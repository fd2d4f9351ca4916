import { describe, expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { acceptedMessage, completedMessage } from '../test/messages.js';
import { createAnnouncer, type EventChoice } from './announcer.js';
import { StoppedError } from './persistence.js';
import type { Booked } from './recorder.js';

/** More than are published at once. */
const JOBS = 1_100;
const jobs = Array.from({ length: JOBS }, () => acceptedMessage());
const booked: Booked = {
  accepted: jobs,
  ended: jobs.map((job) => {
    const fact = completedMessage(job);
    return { fact, record: { state: fact.state, usage: fact.usage, amountNanoUsd: 0n } };
  }),
};

/** Publishes to a broker that refuses each message `refusals` times; tells what arrived and how many were under way. */
async function announce(choice: EventChoice, refusals: number, signal = new AbortController().signal) {
  const tries = new Map<string, number>();
  const arrived: string[] = [];
  let underWay = 0;
  let most = 0;
  const announcer = createAnnouncer({
    publisher: {
      async publish({ messageId }) {
        underWay += 1;
        most = Math.max(most, underWay);
        await Promise.resolve();
        underWay -= 1;
        const tried = (tries.get(messageId) ?? 0) + 1;
        tries.set(messageId, tried);
        if (tried <= refusals && messageId.startsWith(jobs[7]?.jobId ?? '')) {
          throw new ServiceError('broker_unavailable', 'Not now.');
        }
        arrived.push(messageId);
      },
    },
    choice,
    onPublished: () => undefined,
    logger: createLogger({ app: 'test', level: 'silent' }),
  });
  const outcome = await announcer.announce(booked, signal).catch((error: unknown) => error);
  return { arrived, most, outcome };
}

describe('the announcer', () => {
  it('publishes what was chosen', async () => {
    expect((await announce('none', 0)).arrived).toHaveLength(0);
    expect((await announce('terminal', 0)).arrived).toHaveLength(JOBS);
    expect((await announce('all', 0)).arrived).toHaveLength(2 * JOBS);
  });

  it('has a bounded number under way, and tries only those again that failed', async () => {
    const { arrived, most } = await announce('terminal', 2);
    expect([arrived.length, new Set(arrived).size, most]).toEqual([JOBS, JOBS, 500]);
  });

  it('gives up when it is told to stop', async () => {
    const { outcome } = await announce('terminal', Infinity, AbortSignal.abort());
    expect(outcome).toBeInstanceOf(StoppedError);
  });
});
