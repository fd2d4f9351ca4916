import { describe, expect, it } from '@jest/globals';
import { LIMIT_SCOPES, LIMIT_UNITS } from '@sluice/contracts';
import fc from 'fast-check';
import { type Fact, type Measure, type RateWindow, syncPrices } from '../src/index.js';
import { measureArrays } from '../src/quota-facts.js';
import { loadStatement } from '../src/statements.js';
import { backlog, measured, type ModelJob } from './quota-model.js';
import { accepted, completed, jobIdAt, logger, useBooks } from './support.js';

const books = useBooks();
const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const KEYS = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'] as const;
const MODELS = ['embedder', 'other'] as const;

interface Amount {
  readonly measure: number;
  readonly subject: string;
  readonly used: number;
  readonly overage: number;
}

/** What the statement answers, and the time at which the database did. */
async function ask(tenantId: string, measures: readonly Measure[]): Promise<{ nowMs: number; amounts: Amount[] }> {
  await books.query('BEGIN');
  const [time] = await books.query<{ now_ms: string }>('SELECT floor(extract(epoch FROM now()) * 1000) AS now_ms');
  const values = [tenantId, ...measureArrays(measures)];
  const [row] = await books.query<{ amounts: Amount[] }>(loadStatement('quota-facts').text, values);
  await books.query('COMMIT');
  return { nowMs: Number(time?.now_ms), amounts: row?.amounts ?? [] };
}

/** Amounts of rates come as fractions of a unit; times windowMs they are whole. */
function inWholes(amounts: readonly Amount[], measures: readonly Measure[]): Map<string, [number, number]> {
  return new Map(
    amounts.map(({ measure, subject, used, overage }) => {
      const window = measures[measure]?.window;
      const factor = window?.kind === 'rate' ? window.windowMs : 1;
      return [`${measure} ${subject}`, [Math.round(used * factor), Math.round(overage * factor)]];
    }),
  );
}

async function record(tenantId: string, jobs: readonly Omit<ModelJob, 'amountNanoUsd'>[]): Promise<ModelJob[]> {
  const ids = jobs.map(({ atMs }) => jobIdAt(atMs));
  const facts = jobs.flatMap((job, index): Fact[] => {
    const { apiKeyId, model, reservedTokens, reservedNanoUsd, usage, tellsHold } = job;
    const base = { jobId: ids[index] ?? '', tenantId, apiKeyId, model };
    const held = { reservedTokens, reservedNanoUsd };
    return [
      accepted({ ...base, ...held, expiresAtMs: Date.now() + HOUR }),
      ...(usage ? [completed({ ...base, usage, ...(tellsHold && held) })] : []),
    ];
  });
  const { newlyCompleted } = await books.store.recordFacts(facts);
  return jobs.map((job, index) => ({ ...job, amountNanoUsd: Number(newlyCompleted.get(ids[index] ?? '') ?? 0n) }));
}

async function setPrices(): Promise<void> {
  const price = { usdPerMillion: '0.002', from: '2026-01-01T00:00:00Z' };
  const prices = MODELS.flatMap((model) => [
    { ...price, model, meter: 'input' as const },
    { ...price, model, meter: 'request' as const, usdPerMillion: '0.01' },
  ]);
  await syncPrices({ url: books.url, prices, logger });
}

const agoMs = fc.oneof(
  fc.integer({ min: -SECOND, max: 90 * SECOND }),
  fc.integer({ min: 0, max: 40 * MINUTE }),
  fc.integer({ min: 0, max: 27 * HOUR }),
);
const job = fc.record({
  agoMs,
  apiKeyId: fc.constantFrom(...KEYS),
  model: fc.constantFrom(...MODELS),
  reservedTokens: fc.integer({ min: 0, max: 300 }),
  reservedNanoUsd: fc.integer({ min: 0, max: 300_000 }),
  usage: fc.option(
    fc
      .tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 200 }))
      .map(([inputTokens, outputTokens]) => ({ inputTokens, outputTokens, cachedTokens: 0 })),
    { nil: undefined, freq: 4 },
  ),
  tellsHold: fc.boolean(),
});
const rate = fc.record({
  kind: fc.constant('rate' as const),
  max: fc.integer({ min: 1, max: 2_000 }),
  windowMs: fc.constantFrom(MINUTE, 10 * MINUTE),
});
/** Ends of a period, from the hour that began most recently. */
const period = fc
  .tuple(fc.integer({ min: -28 * HOUR, max: HOUR }), fc.integer({ min: -28 * HOUR, max: HOUR }), fc.boolean())
  .map(([from, to, isWhole]) => {
    const hourMs = Math.floor(Date.now() / HOUR) * HOUR;
    const cut = (offset: number): number => hourMs + (isWhole ? Math.floor(offset / HOUR) * HOUR : offset);
    return { kind: 'period' as const, fromMs: cut(Math.min(from, to)), toMs: cut(Math.max(from, to)) };
  });
const measure: fc.Arbitrary<Measure> = fc.record({
  scope: fc.constantFrom(...LIMIT_SCOPES),
  unit: fc.constantFrom(...LIMIT_UNITS),
  window: fc.oneof(rate, period),
});

describe('quotaFacts', () => {
  it('measures what a model of the same jobs does', async () => {
    await setPrices();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(job, { maxLength: 30 }),
        fc.array(measure, { minLength: 1, maxLength: 12 }),
        async (generated, measures) => {
          const tenantId = `tenant-${(run += 1)}`;
          const startMs = Date.now();
          const jobs = await record(
            tenantId,
            generated.map((one) => ({ ...one, atMs: startMs - one.agoMs })),
          );
          // Another tenant's jobs are never counted.
          await record(`${tenantId}-neighbour`, [{ ...NEIGHBOUR, atMs: startMs }]);
          const { nowMs, amounts } = await ask(tenantId, measures);
          const expected = measures.flatMap((one, index) =>
            [...measured(jobs, one, nowMs)].map(([subject, pair]) => [`${index} ${subject}`, pair] as const),
          );
          expect(inWholes(amounts, measures)).toEqual(new Map(expected));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('never measures less of a rate than it really lacks, where the limit was in force', async () => {
    let run = 0;
    const arrival = fc.record({
      agoMs: fc.oneof(fc.integer({ min: 0, max: 40 * MINUTE }), fc.integer({ min: 15 * MINUTE, max: 120 * MINUTE })),
      reserved: fc.integer({ min: 1, max: 400 }),
      used: fc.integer({ min: 0, max: 500 }),
      isOpen: fc.boolean(),
    });
    const window = { kind: 'rate', max: 400, windowMs: 10 * MINUTE } as const satisfies RateWindow;
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { minLength: 1, maxLength: 60 }), async (arrivals) => {
        const tenantId = `tenant-${(run += 1)}`;
        const jobs = admitted(arrivals, window);
        await record(tenantId, jobs);
        const { nowMs, amounts } = await ask(tenantId, [{ scope: 'tenant', unit: 'tokens', window }]);
        const exact = backlog(jobs.map(takingOf), window, nowMs);
        const got = Math.round((amounts[0]?.used ?? 0) * window.windowMs);
        expect(got).toBeGreaterThanOrEqual(exact);
        const recentMs = Math.floor(nowMs / (15 * MINUTE)) * 15 * MINUTE - 15 * MINUTE;
        if (jobs.every(({ atMs }) => atMs >= recentMs)) expect(got).toBe(exact);
        // What is uncertain is at most one bucket, unless there is overage.
        if (jobs.every(isWithinHold)) expect(got).toBeLessThanOrEqual(exact + window.max * window.windowMs);
      }),
      { numRuns: 100 },
    );
  });

  it('knows the debt of a bucket long after', async () => {
    const hold = { apiKeyId: KEYS[0], model: 'embedder', reservedTokens: 10, reservedNanoUsd: 0, tellsHold: true };
    const usage = { inputTokens: 500_000, outputTokens: 100_000, cachedTokens: 0 };
    await record('acme', [{ ...hold, atMs: Date.now() - 5 * HOUR, usage }]);
    const window = { kind: 'rate', max: 1_000, windowMs: MINUTE } as const;
    const { amounts } = await books.store.quotaFacts({
      tenantId: 'acme',
      measures: [{ scope: 'tenant', unit: 'tokens', window }],
    });
    // 600 minutes of the rate, 300 of which have passed; to the end of the quarter of an hour.
    expect(amounts[0]?.used).toBeGreaterThanOrEqual(299_000);
    expect(amounts[0]?.used).toBeLessThanOrEqual(315_000);
  });
});

const NEIGHBOUR = {
  apiKeyId: KEYS[0],
  model: 'embedder',
  reservedTokens: 1_000,
  reservedNanoUsd: 1_000,
  usage: { inputTokens: 7_000, outputTokens: 0, cachedTokens: 0 },
  tellsHold: true,
};

interface Arrival {
  readonly agoMs: number;
  readonly reserved: number;
  readonly used: number;
  readonly isOpen: boolean;
}

/** The arrivals for which a bucket had room, as jobs of now. */
function admitted(arrivals: readonly Arrival[], window: RateWindow): Omit<ModelJob, 'amountNanoUsd'>[] {
  const startMs = Date.now();
  const jobs: Omit<ModelJob, 'amountNanoUsd'>[] = [];
  for (const one of [...arrivals].sort((a, b) => b.agoMs - a.agoMs)) {
    const atMs = startMs - one.agoMs;
    const lacks = backlog(jobs.map(takingOf), window, atMs) / window.windowMs;
    if (lacks + one.reserved > window.max) continue;
    const usage = { inputTokens: one.used, outputTokens: 0, cachedTokens: 0 };
    const hold = { reservedTokens: one.reserved, reservedNanoUsd: 0, tellsHold: true };
    jobs.push({ atMs, apiKeyId: KEYS[0], model: 'embedder', ...hold, usage: one.isOpen ? undefined : usage });
  }
  return jobs;
}

function takingOf({ atMs, usage, reservedTokens }: Omit<ModelJob, 'amountNanoUsd'>) {
  return { atMs, units: usage?.inputTokens ?? reservedTokens, overage: 0 };
}

const isWithinHold = ({ usage, reservedTokens }: Omit<ModelJob, 'amountNanoUsd'>): boolean =>
  (usage?.inputTokens ?? 0) <= reservedTokens;
