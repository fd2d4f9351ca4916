import { MAX_BUDGET_USD, ServiceError, type Meter } from '@sluice/contracts';
import { delay, type Logger, type Service } from '@sluice/runtime';
import type { PriceVersion, Store } from '@sluice/store';

/** What is priced of a job: the worst case it is held for. */
export interface PricedJob {
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** When the job was accepted, in Unix milliseconds: the price then in force counts. */
  readonly atMs: number;
}

/** Prices as they are and as they are going to be. */
export interface PriceBook extends Service {
  /** False until PostgreSQL has answered for the first time. */
  readonly ready: boolean;
  /**
   * What a job may cost at most, in nano-USD, rounded up; 0 while the book is not ready. Nothing counts as cached, and
   * a meter without a price costs nothing.
   *
   * @throws ServiceError `exceeds_limit` for more than any budget holds.
   */
  amountNanoUsd(job: PricedJob): number;
  /** Reads the prices now. */
  refresh(): Promise<void>;
}

export interface PriceBookOptions {
  readonly store: Pick<Store, 'findPrices'>;
  /** Versions carry their dates, so a refresh only has to come before a price that was not known at the last one. */
  readonly refreshMs: number;
  readonly logger: Logger;
}

/** The prices of a model between two changes. Nano-USD for a million units. */
interface Segment {
  readonly fromMs: number;
  readonly toMs: number;
  readonly input: bigint;
  readonly output: bigint;
  readonly request: bigint;
}

const MILLION = 1_000_000;
const MAX_NANO_USD = MAX_BUDGET_USD * 1e9;
/** How soon after a failure the first book is tried for again. */
const FIRST_RETRY_MS = 1_000;

/** Keeps the prices of PostgreSQL at hand; while it is away the ones known go on, dates and all. */
export function createPriceBook({ store, refreshMs, logger }: PriceBookOptions): PriceBook {
  const halt = new AbortController();
  let book: ReadonlyMap<string, readonly Segment[]> | undefined;
  let running: Promise<void> | undefined;

  async function refresh(): Promise<void> {
    book = segmentsByModel(await store.findPrices());
  }

  async function run(): Promise<void> {
    while (!halt.signal.aborted) {
      await refresh().catch((error: unknown) => {
        logger.warn({ err: error, known: book !== undefined }, 'prices could not be read');
      });
      await delay(book ? refreshMs : Math.min(refreshMs, FIRST_RETRY_MS), halt.signal);
    }
  }

  return {
    get ready() {
      return book !== undefined;
    },
    refresh,
    amountNanoUsd({ model, inputTokens, outputTokens, atMs }) {
      const segment = book?.get(model)?.find(({ fromMs, toMs }) => fromMs <= atMs && atMs < toMs);
      return segment ? costOf(segment, inputTokens, outputTokens) : 0;
    },
    // n.b. starts without waiting: tenants without a budget need no prices.
    start() {
      running ??= run();
      return Promise.resolve();
    },
    async stop() {
      halt.abort();
      await running;
    },
  };
}

/** The same product as `record-facts.sql`, rounded up where that rounds to the nearest: the hold is never below it. */
function costOf({ input, output, request }: Segment, inputTokens: number, outputTokens: number): number {
  const exact = Number(input) * inputTokens + Number(output) * outputTokens + Number(request);
  // Below 2^53 each of the products was exact, and so is the sum.
  if (exact <= Number.MAX_SAFE_INTEGER) return (exact - (exact % MILLION)) / MILLION + (exact % MILLION > 0 ? 1 : 0);
  const sum = input * BigInt(inputTokens) + output * BigInt(outputTokens) + request;
  const amount = Number((sum + BigInt(MILLION - 1)) / BigInt(MILLION));
  if (amount <= MAX_NANO_USD) return amount;
  throw new ServiceError('exceeds_limit', `The job could cost more than any budget: at most $${MAX_BUDGET_USD}.`);
}

function segmentsByModel(versions: readonly PriceVersion[]): ReadonlyMap<string, readonly Segment[]> {
  const models = new Set(versions.map(({ model }) => model));
  return new Map([...models].map((name) => [name, segmentsOf(versions.filter(({ model }) => model === name))]));
}

/** Between any two dates on which a meter of the model changes, all its prices stay the same. */
function segmentsOf(versions: readonly PriceVersion[]): readonly Segment[] {
  const dates = versions.flatMap(({ fromMs, toMs = Infinity }) => [fromMs, toMs]);
  const changes = [...new Set(dates)].sort((a, b) => a - b);
  return changes.slice(0, -1).map((fromMs, index) => {
    const priceOf = (wanted: Meter): bigint =>
      versions.find(({ meter, fromMs: from, toMs: to = Infinity }) => meter === wanted && from <= fromMs && fromMs < to)
        ?.nanoUsdPerMillion ?? 0n;
    const toMs = changes[index + 1] ?? Infinity;
    return { fromMs, toMs, input: priceOf('input'), output: priceOf('output'), request: priceOf('request') };
  });
}
