import { describe, expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import type { Store } from '@sluice/store';
import { createRepeatedRequests, type Exists } from './repeated-requests.js';

const jobId = '01980000-0000-7000-8000-000000000001';
const facts = JSON.stringify({
  ...{ jobId, model: 'm', class: 'standard', inputTokens: 3, maxOutputTokens: 0, reservedTokens: 3 },
  ...{ apiKeyId: '0192f000-0000-7000-8000-000000000001', expiresAtMs: 2_000_000_000_000 },
});

type Record = Awaited<ReturnType<Store['findJob']>>;
const record = (state: 'queued' | 'succeeded'): Record =>
  ({ ...(JSON.parse(facts) as object), state, usage: undefined }) as unknown as Record;

/** What a repeated request is answered with when Redis has the job in `state` and the records answer by `findJob`. */
async function stateOf(state: 'reserved' | 'queued' | 'succeeded', findJob: () => Promise<Record>) {
  const repeated = createRepeatedRequests({
    quota: { confirm: () => Promise.resolve(true), snapshot: () => Promise.resolve({ state, facts }) },
    store: { findJob, findJobByKey: () => Promise.resolve(undefined) },
    ...{ clock: { now: () => 0 }, idempotencyTtlMs: 1_000, logger: createLogger({ app: 'test', level: 'silent' }) },
  });
  const exists = { outcome: 'exists', jobId, limits: [], nowMs: 0, snapshot: { state, facts } } as unknown as Exists;
  return (await repeated.queued('acme', exists))?.state;
}
const away = () => Promise.reject(new ServiceError('store_unavailable', 'away'));

describe('a repeated request', () => {
  it('is told the end that is recorded, though Redis has the job open', async () => {
    expect(await stateOf('queued', () => Promise.resolve(record('succeeded')))).toBe('succeeded');
    expect(await stateOf('reserved', () => Promise.resolve(record('succeeded')))).toBe('succeeded');
  });

  it('is told what Redis knows while the records are away, for submissions go on without them', async () => {
    expect(await stateOf('queued', away)).toBe('queued');
    await expect(stateOf('succeeded', away)).rejects.toMatchObject({ code: 'store_unavailable' });
  });

  it('publishes the job again when nobody knows that it is queued, also when its fact is recorded', async () => {
    expect(await stateOf('reserved', () => Promise.resolve(undefined))).toBeUndefined();
    expect(await stateOf('reserved', () => Promise.resolve(record('queued')))).toBeUndefined();
  });
});
