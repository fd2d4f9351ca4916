import { describe, expect, it } from '@jest/globals';
import { backoffMs, persist, StoppedError } from './persistence.js';

describe('persist', () => {
  it('tries until it succeeds and reports each failure', async () => {
    const failures: number[] = [];
    let calls = 0;
    const result = await persist(
      async () => {
        calls += 1;
        if (calls < 4) throw new Error(`failure ${calls}`);
        return 'done';
      },
      { signal: new AbortController().signal, firstDelayMs: 1, onFailure: (_error, attempt) => failures.push(attempt) },
    );
    expect(result).toBe('done');
    expect(failures).toEqual([1, 2, 3]);
  });

  it('waits twice as long each time and never longer than five seconds', async () => {
    const delays = [];
    for (let attempt = 1; attempt <= 12; attempt++) delays.push(backoffMs(attempt));
    expect(delays.slice(0, 7)).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000]);
    expect(Math.max(...delays)).toBe(5_000);
  });

  it('throws at once what cannot heal', async () => {
    const error = new Error('poison');
    const signal = new AbortController().signal;
    const call = persist(() => Promise.reject(error), { signal, onFailure: () => undefined, mayHeal: () => false });
    await expect(call).rejects.toBe(error);
  });

  it('throws what its last attempt failed with, and reports that it waits no more', async () => {
    const waits: (number | undefined)[] = [];
    let calls = 0;
    const call = persist(() => Promise.reject(new Error(`failure ${++calls}`)), {
      signal: new AbortController().signal,
      firstDelayMs: 1,
      maxAttempts: 2,
      onFailure: (_error, _attempt, delayMs) => waits.push(delayMs),
    });
    await expect(call).rejects.toThrow('failure 2');
    expect(waits).toEqual([1, undefined]);
  });

  it('stops waiting when told to, and says why it had to wait', async () => {
    const halt = new AbortController();
    const away = new Error('away');
    const call = persist(() => Promise.reject(away), {
      signal: halt.signal,
      firstDelayMs: 5_000,
      onFailure: () => halt.abort(),
    });
    await expect(call).rejects.toBeInstanceOf(StoppedError);
    await expect(call).rejects.toMatchObject({ cause: away });
  });

  it('lets an attempt that succeeds count even after the signal', async () => {
    await expect(
      persist(async () => 'done', { signal: AbortSignal.abort(), onFailure: () => undefined }),
    ).resolves.toBe('done');
  });
});
