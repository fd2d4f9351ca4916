import { describe, expect, it } from '@jest/globals';
import { newJobId, NO_USAGE, ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { createSettler, redisNanoUsd, settlementOf } from './settlement.js';

const settlement = settlementOf(
  { tenantId: 'acme', jobId: newJobId() },
  { state: 'succeeded', usage: NO_USAGE, amountNanoUsd: 0n },
);

/** Settles once on a Redis that answers so, and tells what became of it. */
async function settle(answer: string): Promise<{ outcome: string; failures: number; outcomes: string[] }> {
  let failures = 0;
  const outcomes: string[] = [];
  const settler = createSettler({
    quota: {
      settle: () => Promise.reject(new ServiceError('quota_unavailable', 'Not now.', { cause: new Error(answer) })),
    },
    onFailure: () => (failures += 1),
    onOutcome: (outcome) => outcomes.push(outcome),
    maxAttempts: 1,
    logger: createLogger({ app: 'test', level: 'silent' }),
  });
  const outcome = await settler.settle([settlement], new AbortController().signal).then(
    () => 'left to the sweep',
    () => 'failed',
  );
  return { outcome, failures, outcomes };
}

describe('the settler', () => {
  it.each([
    'WRONGTYPE Operation against a key holding the wrong kind of value',
    'ERR user_script:12: Bad data format in input.',
  ])('leaves a hold to the sweep when its keys are damaged: %s', async (answer) => {
    expect(await settle(answer)).toEqual({ outcome: 'left to the sweep', failures: 0, outcomes: ['damaged'] });
  });

  it.each([
    "OOM command not allowed when used memory > 'maxmemory'. script: 5a, on @user_script:30.",
    "ERR Error running script (call to f_5a): @user_script:30: OOM command not allowed when used memory > 'maxmemory'.",
    "ERR Error running script (call to f_5a): @user_script:30: -READONLY You can't write against a read only replica.",
    'Connection is closed.',
  ])('gives no hold up because of the state of Redis: %s', async (answer) => {
    expect(await settle(answer)).toEqual({ outcome: 'failed', failures: 1, outcomes: [] });
  });
});

describe('a settlement', () => {
  it('is what the ledger has, in the units of Redis', () => {
    const usage = { inputTokens: 3, outputTokens: 4, cachedTokens: 1 };
    const job = { tenantId: 'acme', jobId: newJobId() };
    expect(settlementOf(job, { state: 'failed', usage, amountNanoUsd: 123_456_789n })).toEqual({
      ...job,
      ...{ tokens: 7, outputTokens: 4, nanoUsd: 123_456_789, state: 'failed' },
    });
  });

  it('of a sum that Redis cannot count is as large as it can', () => {
    expect(redisNanoUsd(2n ** 62n)).toBe(9_000_000 * 1e9);
  });
});
