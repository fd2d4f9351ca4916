import { describe, expect, it } from '@jest/globals';
import { newJobId, NO_USAGE, ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { createSettler, settlementOf } from './settlement.js';

const settlement = settlementOf({ tenantId: 'acme', jobId: newJobId() }, { state: 'succeeded', usage: NO_USAGE });

/** Settles once on a Redis that answers so, and tells what became of it. */
async function settle(answer: string): Promise<{ outcome: string; failures: number }> {
  let failures = 0;
  const settler = createSettler({
    quota: {
      settle: () => Promise.reject(new ServiceError('quota_unavailable', 'Not now.', { cause: new Error(answer) })),
    },
    onFailure: () => (failures += 1),
    maxAttempts: 1,
    logger: createLogger({ app: 'test', level: 'silent' }),
  });
  const outcome = await settler.settle([settlement], new AbortController().signal).then(
    () => 'left to the sweep',
    () => 'failed',
  );
  return { outcome, failures };
}

describe('the settler', () => {
  it.each([
    'WRONGTYPE Operation against a key holding the wrong kind of value',
    'ERR user_script:12: Bad data format in input.',
  ])('leaves a hold to the sweep when its keys are damaged: %s', async (answer) => {
    expect(await settle(answer)).toEqual({ outcome: 'left to the sweep', failures: 0 });
  });

  it.each([
    "OOM command not allowed when used memory > 'maxmemory'. script: 5a, on @user_script:30.",
    "ERR Error running script (call to f_5a): @user_script:30: OOM command not allowed when used memory > 'maxmemory'.",
    "ERR Error running script (call to f_5a): @user_script:30: -READONLY You can't write against a read only replica.",
    'Connection is closed.',
  ])('gives no hold up because of the state of Redis: %s', async (answer) => {
    expect(await settle(answer)).toEqual({ outcome: 'failed', failures: 1 });
  });
});
