import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import type { DeadLetter, DeadLetterQuery } from '../src/index.js';
import { jobIdAt, useBooks } from './support.js';

const books = useBooks();
let serial = 0;

async function keep(overrides: Partial<DeadLetter> = {}): Promise<number> {
  const payload = Buffer.from(`{"serial":${(serial += 1)}}`);
  const letter: DeadLetter = {
    queue: 'dead',
    reason: 'delivery_limit',
    attempts: 5,
    type: 'job.accepted.v1',
    messageId: `m-${serial}`,
    jobId: undefined,
    headers: { 'x-attempt': 5 },
    payload,
    payloadBytes: (overrides.payload ?? payload).length,
    ...overrides,
  };
  await books.store.recordDeadLetter(letter);
  const [row] = await books.query<{ id: bigint }>('SELECT max(dead_letter_id) AS id FROM dead_letters');
  return Number(row?.id);
}

async function list(query: Partial<DeadLetterQuery> = {}): Promise<readonly number[]> {
  return (await books.store.listDeadLetters({ limit: 100, ...query })).map(({ id }) => id);
}

describe('dead letters', () => {
  it('are found with their whole payload, up to 16 MiB', async () => {
    const jobId = jobIdAt(Date.now());
    const payload = randomBytes(16 << 20);
    const id = await keep({ payload, jobId, tenantId: 'acme' });
    const found = await books.store.findDeadLetter(id);
    expect(found?.payload.equals(payload)).toBe(true);
    expect(found).toMatchObject({
      id,
      jobId,
      tenantId: 'acme',
      reason: 'delivery_limit',
      headers: { 'x-attempt': 5 },
      payloadBytes: 16 << 20,
      keptBytes: 16 << 20,
      replay: undefined,
    });
    expect(await books.store.findDeadLetter(id + 1)).toBeUndefined();
    expect(await books.store.findDeadLetter(0.5)).toBeUndefined();
  });

  it('say how much of a payload was kept', async () => {
    const id = await keep({ payload: Buffer.from('begin'), payloadBytes: 99 });
    expect(await books.store.findDeadLetter(id)).toMatchObject({ keptBytes: 5, payloadBytes: 99, tenantId: undefined });
  });

  it('are listed newest first, in pages and by filters, without payloads', async () => {
    const jobId = jobIdAt(Date.now());
    const first = await keep({ tenantId: 'acme', jobId });
    const second = await keep({ queue: 'unrouted', reason: 'unroutable' });
    const third = await keep({ tenantId: 'other' });
    expect(await list()).toEqual([third, second, first]);
    expect(await list({ limit: 2 })).toEqual([third, second]);
    expect(await list({ limit: 2, beforeId: second })).toEqual([first]);
    expect(await list({ queue: 'unrouted' })).toEqual([second]);
    expect(await list({ reason: 'delivery_limit' })).toEqual([third, first]);
    expect(await list({ tenantId: 'acme' })).toEqual([first]);
    expect(await list({ jobId })).toEqual([first]);
    expect(await list({ jobId: 'no id' })).toEqual([]);
    const [summary] = await books.store.listDeadLetters({ limit: 1 });
    expect(summary).not.toHaveProperty('payload');
    expect(summary?.recordedAtMs).toBeGreaterThan(1_700_000_000_000);
  });

  it('are marked as replayed once, also by several at once', async () => {
    const id = await keep();
    const jobId = jobIdAt(Date.now());
    const other = await books.another();
    const marks = await Promise.all(
      [books.store, other, books.store].map((store) => store.markReplayed({ id, note: 'fixed \0', jobId })),
    );
    expect(marks.filter(Boolean)).toHaveLength(1);
    expect(await list({ status: 'open' })).toEqual([]);
    const [letter] = await books.store.listDeadLetters({ status: 'replayed', limit: 1 });
    expect(letter?.replay).toEqual({ atMs: expect.any(Number), note: 'fixed \uFFFD', jobId });
    expect(await books.store.markReplayed({ id: id + 1, note: '' })).toBe(false);
  });

  it('are deleted by age, oldest first and only so many at a time', async () => {
    const ids = [await keep(), await keep(), await keep()];
    await books.query(`UPDATE dead_letters SET recorded_at = to_timestamp(dead_letter_id) WHERE dead_letter_id <> $1`, [
      ids[2],
    ]);
    const beforeMs = Date.now() - 86_400_000;
    await books.store.markReplayed({ id: ids[0] ?? 0, note: 'again' });
    expect(await books.store.deleteDeadLetters({ beforeMs, limit: 1 })).toEqual({ deleted: 1, open: 0 });
    expect(await list()).toEqual([ids[2], ids[1]]);
    expect(await books.store.deleteDeadLetters({ beforeMs, limit: 10 })).toEqual({ deleted: 1, open: 1 });
    expect(await books.store.deleteDeadLetters({ beforeMs, limit: 10 })).toEqual({ deleted: 0, open: 0 });
    expect(await list()).toEqual([ids[2]]);
  });
});
