import { describe, expect, it } from '@jest/globals';
import { cloudEventSchema } from '@sluice/contracts';
import { acceptedMessage, completedMessage } from '../test/messages.js';
import { acceptedEvent, terminalEvent, thresholdEvent } from './events.js';

const job = acceptedMessage({ tenantId: 'acme.eu' });
const usage = { inputTokens: 10, outputTokens: 2, cachedTokens: 0 };
const fact = completedMessage(job, { usage, finishedAtMs: 1_800_000_000_000 });
const record = { state: 'succeeded', usage, amountNanoUsd: 12_345n } as const;

describe('the event of a job', () => {
  it('says how it ended and what it is billed, with an id that never changes', () => {
    const announcement = terminalEvent(fact, record);
    expect(announcement).toEqual({
      routingKey: 'job.succeeded.acme.eu',
      event: {
        specversion: '1.0',
        id: `${job.jobId}.succeeded`,
        source: '/sluice/results-collector',
        type: 'sluice.job.succeeded.v1',
        subject: job.jobId,
        time: '2027-01-15T08:00:00.000Z',
        datacontenttype: 'application/json',
        data: {
          ...{ jobId: job.jobId, tenantId: 'acme.eu', apiKeyId: job.apiKeyId, model: job.model, class: 'standard' },
          ...{ state: 'succeeded', usage, amountNanoUsd: '12345', attempt: 1 },
        },
      },
    });
    expect(cloudEventSchema.parse(announcement?.event)).toEqual(announcement?.event);
  });

  it('carries the error and no input or output', () => {
    const error = { code: 'inference_failed', detail: 'It failed.' };
    const failed = completedMessage(job, { state: 'failed', usage, error });
    const data = terminalEvent(failed, { ...record, state: 'failed' })?.event.data;
    expect(data).toMatchObject({ error, state: 'failed' });
    expect(JSON.stringify(acceptedEvent(job))).not.toContain(JSON.stringify(job.input));
  });

  it('is told by the delivery that won and by no other', () => {
    expect(terminalEvent(fact, { ...record, state: 'canceled' })).toBeUndefined();
    expect(terminalEvent(fact, { ...record, usage: { ...usage, outputTokens: 3 } })).toBeUndefined();
  });

  it('is dated by its id when it was accepted', () => {
    const { event, routingKey } = acceptedEvent(job);
    expect([event.id, routingKey]).toEqual([`${job.jobId}.queued`, 'job.accepted.acme.eu']);
    expect(cloudEventSchema.parse(event).type).toBe('sluice.job.accepted.v1');
  });
});

describe('the event of a limit', () => {
  it('has an id of its own for each period and percentage', () => {
    const data = {
      ...{ tenantId: 'acme', limit: 'model:tokens-per-day', subject: 'small', periodStart: '2026-11-01', percent: 80 },
      ...{ used: '81', max: '100' },
    };
    const { event, routingKey } = thresholdEvent(data, 1_800_000_000_000);
    expect(routingKey).toBe('limit.threshold.acme');
    expect(event.id).toBe('limit|acme|model:tokens-per-day|small|2026-11-01|80');
    expect(cloudEventSchema.parse(event).data).toEqual(data);
  });
});
