import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { dead, retry } from '@sluice/broker';
import { MAX_ATTEMPTS, type ErrorCode } from '@sluice/contracts';
import { isSuspected, RETRY_POLICY, retryRuleOf, settlementAfter } from './retry-policy.js';

const HOUR_MS = 3_600_000;
const crashed = { code: 'inference_crashed', detail: 'Why.', attempt: 2, suspected: true } as const;

/** What becomes of a job that meets the same error at every attempt: the pauses, in seconds, then the reason. */
function fateOf(code: ErrorCode, remainingMs = HOUR_MS): readonly (number | string)[] {
  const fate: (number | string)[] = [];
  for (let attempt = 1; ; attempt += 1) {
    const settlement = settlementAfter({ code, detail: 'Why.', attempt, suspected: false, remainingMs });
    if (settlement.kind === 'dead') return [...fate, settlement.reason];
    if (settlement.kind === 'retry') fate.push(settlement.delayMs / 1000);
  }
}

describe('the retry policy', () => {
  it('waits longer after each attempt, as long as the error deserves', () => {
    expect(fateOf('inference_crashed')).toEqual([5, 30, 300, 300, 'inference_crashed: Why.']);
    expect(fateOf('inference_timeout')).toEqual([5, 30, 'inference_timeout: Why.']);
    expect(fateOf('model_unavailable')).toEqual([30, 300, 300, 300, 'model_unavailable: Why.']);
  });

  it('treats an error without a rule as the consumer treats one that it does not know', () => {
    expect(fateOf('internal')).toEqual([5, 30, 300, 300, 'internal: Why.']);
    expect(retryRuleOf('internal').attempts).toBe(MAX_ATTEMPTS);
  });

  it('tries an error that would come again once', () => {
    expect(fateOf('inference_failed')).toEqual(['inference_failed: Why.']);
    expect(fateOf('input_too_long')).toEqual(['input_too_long: Why.']);
  });

  it('gives up at once when the job would only come back to expire', () => {
    expect(settlementAfter({ ...crashed, remainingMs: 30_000 })).toEqual(retry(30_000, 'inference_crashed'));
    expect(settlementAfter({ ...crashed, remainingMs: 29_999 })).toEqual(dead('inference_crashed: Why.'));
    expect(settlementAfter({ ...crashed, remainingMs: -1 })).toEqual(dead('inference_crashed: Why.'));
  });

  it('gives up a job whose attempts were counted beyond the last one', () => {
    expect(settlementAfter({ ...crashed, attempt: 1000, remainingMs: HOUR_MS })).toEqual(
      dead('inference_crashed: Why.'),
    );
  });

  it('suspects a job after any error that its texts may be the cause of, or of which nothing is known', () => {
    const first = { attempt: 1, redelivered: false, retryReason: undefined };
    const again = { ...first, attempt: 2 };
    expect(isSuspected(first)).toBe(false);
    expect(isSuspected({ ...first, redelivered: true })).toBe(false);
    expect(isSuspected(again)).toBe(true);
    expect(isSuspected({ ...again, retryReason: 'inference_crashed' })).toBe(true);
    expect(isSuspected({ ...again, retryReason: 'model_unavailable' })).toBe(false);
    expect(isSuspected({ ...again, retryReason: 'model_unavailable', redelivered: true })).toBe(true);
  });

  it('keeps a suspicion when a worker without the model tries the job again', () => {
    const failed = { code: 'model_unavailable', detail: 'Why.', attempt: 2, remainingMs: HOUR_MS } as const;
    expect(settlementAfter({ ...failed, suspected: false })).toEqual(retry(300_000, 'model_unavailable'));
    expect(settlementAfter({ ...failed, suspected: true })).toEqual(retry(300_000));
  });

  it('is the table of docs/configuration.md', () => {
    const page = readFileSync(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `([a-z_]+)` +\| (\d+) +\| ([^|]*?) *\|/gm)];
    const pauses = { 'retry.5s': '5 s', 'retry.30s': '30 s', 'retry.5m': '5 min' } as const;
    const documented = rows.map(([, code, attempts, waits]) => [code, Number(attempts), waits]);
    const expected = Object.entries(RETRY_POLICY).map(([code, { attempts, tiers }]) => [
      code,
      attempts,
      tiers.map((tier) => pauses[tier]).join(', ') || '–',
    ]);
    expect(documented).toEqual(expected);
  });
});
