import { describe, expect, it, jest } from '@jest/globals';
import { ServiceError, type AcceptedMessage } from '@sluice/contracts';
import type { Reservation, ReserveOutcome } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { createFlights } from './flights.js';
import { createUnconfirmedJobs } from './unconfirmed-jobs.js';

const JOB = '01980000-0000-7000-8000-000000000001';
const OTHER = '01980000-0000-7000-8000-000000000002';
const message: AcceptedMessage = {
  ...{ jobId: JOB, tenantId: 'acme', apiKeyId: '0192f000-0000-7000-8000-000000000001', model: 'm', class: 'standard' },
  ...{ input: 'a long text', inputTokens: 3, maxOutputTokens: 0, reservedTokens: 3, expiresAtMs: 1_000 },
};
const reservation = { tenantId: 'acme', jobId: JOB, owner: JOB } as Reservation;
const known = { state: 'reserved', facts: '{}' } as const;

function exists(jobId: string, state: 'reserved' | 'queued' = 'reserved'): ReserveOutcome {
  return { outcome: 'exists', jobId, snapshot: { ...known, state }, limits: [], nowMs: 0 };
}

/** Redis answers what `outcomes` say, the last one again and again; the first `lost` publishes fail. */
function setUp({
  outcomes,
  lost = 0,
  nowMs = 0,
}: {
  outcomes: readonly [...ReserveOutcome[], ReserveOutcome];
  lost?: number;
  nowMs?: number;
}) {
  const flights = createFlights();
  const published: AcceptedMessage[] = [];
  const inFlight: number[] = [];
  const released: string[] = [];
  const reserve = jest.fn(() => {
    const [last] = outcomes.slice(-1) as [ReserveOutcome];
    return Promise.resolve(outcomes[reserve.mock.calls.length - 1] ?? last);
  });
  const publishFact = jest.fn((fact: AcceptedMessage, generation: number) => {
    inFlight.push(flights.size);
    if (publishFact.mock.calls.length <= lost) return Promise.reject(new ServiceError('publish_unconfirmed', 'lost'));
    expect(generation).toBe(7);
    published.push(fact);
    return Promise.resolve();
  });
  const jobs = createUnconfirmedJobs({
    quota: { reserve },
    flights,
    jobPublisher: { generation: () => 7, publishFact },
    abandoned: { add: ({ jobId }) => void released.push(jobId) },
    clock: { now: () => nowMs },
    logger: createLogger({ app: 'test', level: 'silent' }),
  });
  return { jobs, published, inFlight, released, reserve, publishFact };
}

async function none(jobs: { readonly size: number }): Promise<void> {
  for (let count = 0; jobs.size > 0 && count < 100; count++) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(jobs.size).toBe(0);
}

describe('jobs whose publish has no known outcome', () => {
  it('have their fact published in a flight, without the input, until it is confirmed', async () => {
    const { jobs, published, inFlight, reserve } = setUp({ outcomes: [exists(JOB)], lost: 1 });
    jobs.add({ message, reservation });
    expect(jobs.size).toBe(1);
    await none(jobs);
    expect(published).toEqual([{ ...message, input: '' }]);
    expect(inFlight).toEqual([1, 1]);
    expect(reserve).toHaveBeenCalledTimes(2); // Redis is asked before each publish
  });

  it('are left alone when they are further on, or their key is another job’s', async () => {
    for (const outcome of [exists(JOB, 'queued'), exists(OTHER), { outcome: 'key_unknown' } as ReserveOutcome]) {
      const { jobs, published, released } = setUp({ outcomes: [outcome] });
      jobs.add({ message, reservation });
      await none(jobs);
      expect({ published, released }).toEqual({ published: [], released: [] });
    }
  });

  it('are not brought back when Redis has lost them: what was reserved meanwhile is given back', async () => {
    const { jobs, published, released } = setUp({
      outcomes: [{ outcome: 'not_loaded' }, { outcome: 'reserved', limits: [], nowMs: 0 }],
    });
    jobs.add({ message, reservation });
    await none(jobs);
    expect({ published, released }).toEqual({ published: [], released: [JOB] });
  });

  it('are given up after their deadline, and by a stop after one more try', async () => {
    const late = setUp({ outcomes: [exists(JOB)], lost: Infinity, nowMs: 1_000 });
    late.jobs.add({ message, reservation });
    await none(late.jobs);
    expect(late.publishFact).toHaveBeenCalledTimes(1);

    const stopped = setUp({ outcomes: [exists(JOB)], lost: Infinity });
    stopped.jobs.add({ message, reservation });
    await stopped.jobs.stop();
    expect(stopped.publishFact).toHaveBeenCalledTimes(1);
  });
});
