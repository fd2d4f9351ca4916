import { describe, expect, it } from '@jest/globals';
import { settledPosition, type QuotaAnswer } from './position.js';

function quota(used: number, held: number): QuotaAnswer {
  return { limits: [{ name: 'tokens-per-month', kind: 'quota', max: 100, used, held, remaining: 100 - used - held }] };
}

/** Gives each next reading of a list, the last one for ever. */
function source(quotas: readonly QuotaAnswer[], ledger: readonly number[]) {
  const next = <T>(values: readonly T[]) => {
    const left = [...values];
    return async (): Promise<T> => (left.length > 1 ? left.shift() : left[0]) as T;
  };
  return { quota: next(quotas), ledgerTokens: next(ledger) };
}

describe('settledPosition', () => {
  it('waits until nothing is held, and says once what it waits for', async () => {
    const waited: number[] = [];
    const position = await settledPosition(source([quota(0, 9), quota(4, 5), quota(9, 0)], [0, 0, 4, 4, 9]), {
      patienceMs: 10_000,
      onWait: (held) => waited.push(held),
    });
    expect(position).toEqual({ quota: quota(9, 0), ledgerTokens: 9 });
    expect(waited).toEqual([9]);
  });

  it('reads again when a job was billed between the readings', async () => {
    const waited: number[] = [];
    const position = await settledPosition(source([quota(0, 0), quota(7, 0)], [0, 7]), {
      patienceMs: 10_000,
      onWait: (held) => waited.push(held),
    });
    expect(position).toEqual({ quota: quota(7, 0), ledgerTokens: 7 });
    expect(waited).toEqual([]);
  });

  it('does not wait for what was held before', async () => {
    const position = await settledPosition(source([quota(3, 5)], [3]), { heldAtMost: 5, patienceMs: 10_000 });
    expect(position).toEqual({ quota: quota(3, 5), ledgerTokens: 3 });
  });

  it('gives what there is when patience is over', async () => {
    const position = await settledPosition(source([quota(3, 5)], [3]), { patienceMs: 0 });
    expect(position).toEqual({ quota: quota(3, 5), ledgerTokens: 3 });
  });
});
