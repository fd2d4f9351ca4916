import { afterEach, describe, expect, it } from '@jest/globals';
import { ServiceError, type Meter } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import type { PriceVersion } from '@sluice/store';
import fc from 'fast-check';
import { createPriceBook, type PriceBook, type PricedJob } from './price-book.js';

const logger = createLogger({ app: 'test', level: 'silent' });
const MAY = Date.UTC(2026, 4);
const JUNE = Date.UTC(2026, 5);
let books: PriceBook[] = [];
afterEach(async () => {
  await Promise.all(books.map((book) => book.stop()));
  books = [];
});

function bookOf(findPrices: () => Promise<readonly PriceVersion[]>, refreshMs = 60_000): PriceBook {
  const book = createPriceBook({ store: { findPrices }, refreshMs, logger });
  books.push(book);
  return book;
}

async function readBook(versions: readonly PriceVersion[]): Promise<PriceBook> {
  const book = bookOf(() => Promise.resolve(versions));
  await book.refresh();
  return book;
}

function price(meter: Meter, nanoUsdPerMillion: bigint, fromMs = MAY, toMs?: number): PriceVersion {
  return { model: 'm', meter, nanoUsdPerMillion, fromMs, ...(toMs !== undefined && { toMs }) } as PriceVersion;
}

const job: PricedJob = { model: 'm', inputTokens: 3, outputTokens: 5, atMs: JUNE };

describe('a price book', () => {
  it('prices input, output and the request itself, rounded up, and nothing without a price', async () => {
    const book = await readBook([price('input', 2_000_000n), price('output', 500_000n), price('request', 1n)]);
    expect(book.amountNanoUsd(job)).toBe(6 + 3);
    expect(book.amountNanoUsd({ ...job, inputTokens: 0, outputTokens: 0 })).toBe(1);
    expect(book.amountNanoUsd({ ...job, model: 'free' })).toBe(0);
    expect(book.amountNanoUsd({ ...job, atMs: MAY - 1 })).toBe(0);
  });

  it('takes the version in force at the time of the job, from its first to before its last millisecond', async () => {
    const book = await readBook([
      price('input', 1_000_000n, MAY, JUNE),
      price('input', 7_000_000n, JUNE),
      price('output', 1_000_000n, MAY + 5),
    ]);
    const at = (atMs: number) => book.amountNanoUsd({ model: 'm', inputTokens: 1, outputTokens: 1, atMs });
    expect([at(MAY - 1), at(MAY), at(MAY + 4), at(MAY + 5), at(JUNE - 1), at(JUNE)]).toEqual([0, 1, 1, 2, 2, 8]);
  });

  it('is exact for any price and any job: the smallest whole amount that is not below the product', async () => {
    const nano = fc.bigInt({ min: 0n, max: 10n ** 15n });
    const tokens = fc.integer({ min: 0, max: 100_000_000 });
    await fc.assert(
      fc.asyncProperty(nano, nano, nano, tokens, tokens, async (input, output, request, inputTokens, outputTokens) => {
        const book = await readBook([price('input', input), price('output', output), price('request', request)]);
        const exact = input * BigInt(inputTokens) + output * BigInt(outputTokens) + request;
        const amount = (exact + 999_999n) / 1_000_000n;
        const priced = () => book.amountNanoUsd({ ...job, inputTokens, outputTokens });
        if (amount <= 9_000_000_000_000_000n) expect(BigInt(priced())).toBe(amount);
        else expect(priced).toThrow(expect.objectContaining({ code: 'exceeds_limit' }));
      }),
    );
  });

  it('goes on with the prices it knows while PostgreSQL is away, and says so when it knows none', async () => {
    let away = true;
    const asked: (() => void)[] = [];
    const book = bookOf(() => {
      asked.shift()?.();
      return away
        ? Promise.reject(new ServiceError('store_unavailable', 'away'))
        : Promise.resolve([price('input', 1_000_000n)]);
    }, 5);
    const nextQuestion = () => new Promise<void>((resolve) => asked.push(resolve));
    const first = nextQuestion();
    await book.start();
    await first;
    expect(book.ready).toBe(false);
    expect(book.amountNanoUsd(job)).toBe(0);

    away = false;
    await nextQuestion();
    await nextQuestion();
    expect(book.ready).toBe(true);
    away = true;
    await nextQuestion();
    await nextQuestion();
    expect(book.amountNanoUsd(job)).toBe(3);
  });
});
