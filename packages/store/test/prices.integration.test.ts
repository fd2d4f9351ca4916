import { describe, expect, it } from '@jest/globals';
import type { Price } from '@sluice/contracts';
import { ConfigError } from '@sluice/runtime';
import { syncPrices } from '../src/index.js';
import { completed, jobIdAt, logger, useBooks } from './support.js';

const books = useBooks();
const HOUR = 3_600_000;

function price(usdPerMillion: string, fromMs: number, meter: Price['meter'] = 'input'): Price {
  return { model: 'embedder', meter, usdPerMillion, from: new Date(fromMs).toISOString() };
}

const sync = (...prices: Price[]): Promise<void> => syncPrices({ url: books.url, prices, logger });

async function stored(): Promise<unknown[]> {
  return books.query('SELECT price_id, nano_usd_per_million, valid FROM price_versions ORDER BY lower(valid)');
}

async function amountAt(timeMs: number): Promise<bigint | undefined> {
  const jobId = jobIdAt(timeMs);
  const usage = { inputTokens: 1_000_000, outputTokens: 0, cachedTokens: 0 };
  await books.store.recordFacts([completed({ jobId, usage })]);
  const [row] = await books.query<{ amount_nano_usd: bigint }>('SELECT amount_nano_usd FROM ledger WHERE job_id = $1', [
    jobId,
  ]);
  return row?.amount_nano_usd;
}

describe('prices', () => {
  it('are those in force when the job was accepted, to the millisecond', async () => {
    const change = Date.now() - HOUR;
    await sync(price('0.02', change - HOUR), price('0.03', change));
    expect(await amountAt(change - 1)).toBe(20_000_000n);
    expect(await amountAt(change)).toBe(30_000_000n);
    expect(await amountAt(change - HOUR - 1)).toBe(0n);
  });

  it('may be announced, and never change what was billed', async () => {
    const now = Date.now();
    await sync(price('0.02', now - HOUR));
    const before = await amountAt(now - 1);
    await sync(price('0.02', now - HOUR), price('0.5', now + HOUR));
    expect(await amountAt(now)).toBe(before);
    expect(await books.query('SELECT sum(amount_nano_usd)::bigint AS sum FROM ledger')).toEqual([{ sum: 40_000_000n }]);
    expect(await amountAt(now + HOUR)).toBe(500_000_000n);
  });

  it('stay as they are when the same prices are given again, also by several programs at once', async () => {
    const now = Date.now();
    const prices = [price('0.02', now - HOUR), price('0.03', now + HOUR), price('1', now - HOUR, 'request')];
    await Promise.all([sync(...prices), sync(...prices), sync(...prices)]);
    const first = await stored();
    await sync(...prices);
    expect(await stored()).toEqual(first);
    expect(first).toHaveLength(3);
  });

  it('refuse a change of the past and then change nothing', async () => {
    const now = Date.now();
    await sync(price('0.02', now - HOUR));
    const before = await stored();
    await expect(sync(price('0.03', now - HOUR), price('9', now + HOUR))).rejects.toBeInstanceOf(ConfigError);
    expect(await stored()).toEqual(before);
  });

  it('cannot be changed or overlap even by hand', async () => {
    await sync(price('0.02', Date.now() - HOUR));
    for (const change of [
      'UPDATE price_versions SET nano_usd_per_million = 1',
      `UPDATE price_versions SET valid = tstzrange('2020-01-01', NULL)`,
      `UPDATE price_versions SET valid = tstzrange(lower(valid), now() - interval '1 minute')`,
      'DELETE FROM price_versions',
    ]) {
      await expect(books.query(change)).rejects.toMatchObject({ code: '23001' });
    }
    const overlapping = `INSERT INTO price_versions (model, meter, valid, nano_usd_per_million)
      SELECT model, meter, tstzrange(now() + interval '1 day', NULL), 1 FROM price_versions`;
    await expect(books.query(overlapping)).rejects.toMatchObject({ code: '23P01' });
  });

  it('that are missing bill nothing and are reported', async () => {
    const now = Date.now();
    await sync(price('0.02', now - HOUR));
    expect(await amountAt(now)).toBe(20_000_000n);
    const outputOnly = { inputTokens: 0, outputTokens: 5, cachedTokens: 0 };
    const unpriced = completed({ jobId: jobIdAt(now), usage: outputOnly });
    const free = completed({ jobId: jobIdAt(now), usage: outputOnly, state: 'expired' });
    await books.store.recordFacts([unpriced, free]);
    expect(await books.query('SELECT job_id, output_tokens FROM v_unpriced')).toEqual([
      { job_id: unpriced.message.jobId, output_tokens: 5 },
    ]);
  });
});
