import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { OutgoingMessage } from '@sluice/broker';
import { newJobId, ServiceError, startedMessageSchema } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { createStartedNotices } from './started-notices.js';

describe('notices of started jobs', () => {
  beforeEach(() => void jest.useFakeTimers({ now: 1_000_000 }));
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  function createFixture(publishFails = false) {
    const published: OutgoingMessage[] = [];
    const notices = createStartedNotices({
      logger: createLogger({ app: 'test', level: 'silent' }),
      now: Date.now,
      publisher: {
        async publish(message) {
          if (publishFails) throw new ServiceError('broker_unavailable', 'Not now.');
          published.push(message);
        },
      },
    });
    const messages = () => published.map(({ body }) => startedMessageSchema.parse(JSON.parse(body.toString())));
    return { notices, published, messages };
  }

  const newJob = () => ({ jobId: newJobId(), tenantId: 'acme' });

  it('report jobs that still run after a moment, together', () => {
    const { notices, published, messages } = createFixture();
    const jobs = [newJob(), newJob()];
    for (const job of jobs) notices.begin(job);
    jest.advanceTimersByTime(199);
    expect(published).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(messages()).toEqual([{ jobs, startedAtMs: 1_000_000 }]);
    expect(published).toMatchObject([
      { exchange: 'results', routingKey: 'jobs.started.v1', type: 'jobs.started.v1', messageId: expect.any(String) },
    ]);
  });

  it('never report a job that ended before, and each other one once', () => {
    const { notices, messages } = createFixture();
    const [short, long] = [newJob(), newJob()];
    notices.begin(short);
    jest.advanceTimersByTime(100);
    notices.begin(long);
    notices.end(short);
    jest.advanceTimersByTime(10_000);
    notices.end(long);
    expect(messages()).toEqual([{ jobs: [long], startedAtMs: 1_000_100 }]);
  });

  it('report those that begin while others are waited for within 300 ms', () => {
    const { notices, messages } = createFixture();
    for (let at = 0; at < 5; at += 1) {
      notices.begin(newJob());
      jest.advanceTimersByTime(20);
    }
    jest.advanceTimersByTime(300);
    expect(messages().flatMap(({ jobs }) => jobs)).toHaveLength(5);
    expect(messages().length).toBeLessThan(3);
  });

  it('carry at most 1000 jobs in a message', () => {
    const { notices, messages } = createFixture();
    for (let at = 0; at < 2_500; at += 1) notices.begin(newJob());
    jest.advanceTimersByTime(200);
    expect(messages().map(({ jobs }) => jobs.length)).toEqual([1000, 1000, 500]);
  });

  it('are forgotten when they cannot be published', async () => {
    const { notices, published } = createFixture(true);
    notices.begin(newJob());
    await jest.advanceTimersByTimeAsync(1_000);
    expect(published).toEqual([]);
  });

  it('end with the worker', () => {
    const { notices, published } = createFixture();
    notices.begin(newJob());
    notices.stop();
    notices.begin(newJob());
    jest.advanceTimersByTime(1_000);
    expect(published).toEqual([]);
  });
});
