import { describe, expect, it } from '@jest/globals';
import { newJobId, ServiceError } from '@sluice/contracts';
import type { JobSnapshot } from '@sluice/quota';
import type { JobRecord } from '@sluice/store';
import { createJobLookup } from './job-lookup.js';

const jobId = newJobId();
const facts = {
  ...{ jobId, apiKeyId: '0190b5a0-0000-4000-8000-000000000001', model: 'm', class: 'standard' as const },
  ...{ inputTokens: 1, maxOutputTokens: 0, reservedTokens: 1, expiresAtMs: 1 },
};
const queued: JobSnapshot = { state: 'queued', facts: JSON.stringify(facts) };
const ended = { ...facts, tenantId: 'acme', state: 'succeeded' } as unknown as JobRecord;
const away = (): Promise<never> => Promise.reject(new ServiceError('store_unavailable', 'It is away.'));

/** What is told of a job by these. */
function lookUp(servers: {
  readonly snapshot: () => Promise<JobSnapshot | undefined>;
  readonly findJob: () => Promise<JobRecord | undefined>;
  readonly ageMs?: number;
}) {
  const { snapshot, findJob, ageMs = 0 } = servers;
  return createJobLookup({ quota: { snapshot }, store: { findJob }, now: () => Date.now() + ageMs });
}

describe('the lookup of a job', () => {
  it('tells the end that is recorded though Redis has the job open, however young it is', async () => {
    const find = lookUp({ snapshot: async () => queued, findJob: async () => ended });
    expect((await find('acme', jobId))?.view.state).toBe('succeeded');
  });

  it('takes the word of Redis for a young job that is only waited for', async () => {
    const servers = { snapshot: async () => queued, findJob: async () => ended };
    expect((await lookUp(servers)('acme', jobId, { quick: true }))?.view.state).toBe('queued');
    expect((await lookUp({ ...servers, ageMs: 60_000 })('acme', jobId, { quick: true }))?.view.state).toBe('succeeded');
  });

  it('says that it cannot know while the records are away, for they may have told an end that Redis does not know', async () => {
    const open = lookUp({ snapshot: async () => queued, findJob: away });
    await expect(open('acme', jobId)).rejects.toMatchObject({ code: 'store_unavailable' });
    const unknown = lookUp({ snapshot: async () => undefined, findJob: away });
    await expect(unknown('acme', jobId)).rejects.toMatchObject({ code: 'store_unavailable' });
  });

  it('brings along what a job asked for that the records do not have yet', async () => {
    const find = lookUp({ snapshot: async () => queued, findJob: async () => undefined });
    const { inputTokens, maxOutputTokens, expiresAtMs } = facts;
    expect((await find('acme', jobId))?.account.accepted).toEqual({ inputTokens, maxOutputTokens, expiresAtMs });
  });
});
