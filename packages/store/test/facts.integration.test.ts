import { describe, expect, it } from '@jest/globals';
import {
  type JobClass,
  newJobId,
  type TerminalState,
  TERMINAL_STATES,
  totalTokens,
  type Usage,
} from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import fc from 'fast-check';
import { type Fact, RecordError, syncPrices } from '../src/index.js';
import { accepted, completed, jobIdAt, KEY_ID, logger, useBooks } from './support.js';

const books = useBooks();
const PRICES = { input: 123_456_789n, output: 987_654_321n, cached: 1n, request: 999_999n };

/** The rounding of the statement, in integers: half away from zero. */
function amountOf(state: TerminalState, usage: Usage): bigint {
  if (state === 'expired' || (state !== 'succeeded' && totalTokens(usage) === 0)) return 0n;
  const exact =
    BigInt(usage.inputTokens - usage.cachedTokens) * PRICES.input +
    BigInt(usage.cachedTokens) * PRICES.cached +
    BigInt(usage.outputTokens) * PRICES.output +
    PRICES.request;
  return (exact + 500_000n) / 1_000_000n;
}

async function setPrices(): Promise<void> {
  const prices = (Object.keys(PRICES) as (keyof typeof PRICES)[]).flatMap((meter) =>
    ['embedder', 'other'].map((model) => ({
      model,
      meter,
      usdPerMillion: `0.${String(PRICES[meter]).padStart(9, '0')}`,
      from: '2026-01-01T00:00:00Z',
    })),
  );
  await syncPrices({ url: books.url, prices, logger });
}

interface LedgerRow {
  job_id: string;
  phase: number;
  tenant_id: string;
  state: TerminalState | null;
  input_tokens: number;
  output_tokens: number;
  cached_tokens: number;
  amount_nano_usd: bigint;
}

const LEDGER = `SELECT job_id, phase, tenant_id, state, input_tokens, output_tokens, cached_tokens, amount_nano_usd
  FROM ledger WHERE tenant_id = ANY($1) ORDER BY job_id, phase`;

async function expectNoDrift(): Promise<void> {
  expect(await books.query('SELECT * FROM v_recon_rollup_drift')).toEqual([]);
}

describe('recordFacts', () => {
  it('records a job with its result and reports it as new once', async () => {
    const jobId = newJobId();
    const facts = [accepted({ jobId }), completed({ jobId })];
    const first = await books.store.recordFacts(facts);
    expect(first).toEqual({ newlyAccepted: new Set([jobId]), newlyCompleted: new Map([[jobId, 0n]]) });
    const replay = await books.store.recordFacts([...facts, ...facts]);
    expect(replay).toEqual({ newlyAccepted: new Set(), newlyCompleted: new Map() });
    expect(await books.query('SELECT jobs, input_tokens FROM usage_15m')).toEqual([{ jobs: 1n, input_tokens: 100n }]);
    expect(await books.query('SELECT count(*) FROM job_results')).toEqual([{ count: 1n }]);
    await expectNoDrift();
  });

  it('records nothing for no facts', async () => {
    expect(await books.store.recordFacts([])).toEqual({ newlyAccepted: new Set(), newlyCompleted: new Map() });
  });

  it('takes a completed fact before its accepted fact', async () => {
    const jobId = newJobId();
    await books.store.recordFacts([completed({ jobId })]);
    expect(await books.store.findJob('acme', jobId)).toBeUndefined();
    await books.store.recordFacts([accepted({ jobId })]);
    expect(await books.store.findJob('acme', jobId)).toMatchObject({ state: 'succeeded', inputTokens: 100 });
    expect((await books.store.quotaFacts({ tenantId: 'acme', measures: [] })).openHolds).toEqual([]);
  });

  it('keeps the first terminal fact and only its result', async () => {
    const jobId = newJobId();
    await books.store.recordFacts([completed({ jobId, modelVersion: 'first' })]);
    const late = completed({ jobId, state: 'expired', modelVersion: 'second', finishedAtMs: 5 });
    expect((await books.store.recordFacts([late, accepted({ jobId })])).newlyCompleted.size).toBe(0);
    expect(await books.store.findJob('acme', jobId)).toMatchObject({ state: 'succeeded', modelVersion: 'first' });
    await expectNoDrift();
  });

  it('keeps the first of two terminal facts of one batch', async () => {
    const jobId = newJobId();
    const failed = completed({ jobId, state: 'failed', error: { code: 'inference_failed', detail: 'x' } });
    await books.store.recordFacts([failed, completed({ jobId })]);
    expect(await books.store.terminalFacts([jobId])).toEqual(
      new Map([
        [jobId, { state: 'failed', usage: { inputTokens: 100, outputTokens: 20, cachedTokens: 0 }, amountNanoUsd: 0n }],
      ]),
    );
  });

  it('stores labels, errors and outputs of any text', async () => {
    const jobId = newJobId();
    const metadata = { team: 'Größe 東京 😀 "\\{},NULL\n\u2028', n: 1.5, yes: true, odd: 'a\0b\uD800' };
    const output = { task: 'text-classification' as const, classifications: [[{ label: 'a"\\\t,', score: 0.25 }]] };
    const error = { code: 'internal', detail: 'NULL' };
    await books.store.recordFacts([
      accepted({ jobId, metadata }),
      completed({ jobId, output, error, modelVersion: 'NULL' }),
    ]);
    expect(await books.store.findJob('acme', jobId)).toMatchObject({
      metadata: { ...metadata, odd: 'a\uFFFDb\uFFFD' },
      output,
      error,
      modelVersion: 'NULL',
    });
  });

  it('records the good facts of a batch with refused ones and says which were refused', async () => {
    const jobIds = Array.from({ length: 20 }, () => newJobId());
    const facts = jobIds.flatMap((jobId, index): Fact[] => [
      accepted({ jobId, ...(index === 3 && { class: 'urgent' as JobClass }) }),
      completed({ jobId, ...(index === 11 && { state: 'lost' as TerminalState }) }),
    ]);
    const outOfRange = accepted({ jobId: newJobId(), inputTokens: 2 ** 40 });
    const error = await books.store.recordFacts([...facts, outOfRange, outOfRange]).catch((caught: unknown) => caught);
    if (!(error instanceof RecordError)) throw error;
    expect(new Set(error.failures.map(({ type, jobId }) => `${type} ${jobId}`))).toEqual(
      new Set([`accepted ${jobIds[3]}`, `completed ${jobIds[11]}`, `accepted ${outOfRange.message.jobId}`]),
    );
    expect(error.failures).toHaveLength(3);
    expect([...error.failed.keys()].sort()).toEqual([jobIds[3], jobIds[11], outOfRange.message.jobId].sort());
    expect(error.outcome.newlyAccepted).toEqual(new Set(jobIds.filter((_, index) => index !== 3)));
    expect([...error.outcome.newlyCompleted.keys()]).toEqual(jobIds.filter((_, index) => index !== 11));
    await expectNoDrift();
  });

  it('bills by what a job was, and rounds once', async () => {
    await setPrices();
    const cases: [TerminalState, Usage][] = TERMINAL_STATES.flatMap((state) =>
      [
        { inputTokens: 0, outputTokens: 0, cachedTokens: 0 },
        { inputTokens: 7, outputTokens: 3, cachedTokens: 2 },
        { inputTokens: 100_000_000, outputTokens: 100_000_000, cachedTokens: 99_999_999 },
      ].map((usage): [TerminalState, Usage] => [state, usage]),
    );
    const facts = cases.map(([state, usage]) => completed({ jobId: newJobId(), state, usage }));
    await books.store.recordFacts(facts);
    const rows = await books.query<LedgerRow>(LEDGER, [['acme']]);
    const amounts = new Map(rows.map((row) => [row.job_id, row.amount_nano_usd]));
    cases.forEach(([state, usage], index) => {
      expect(amounts.get(facts[index]?.message.jobId ?? '')).toBe(amountOf(state, usage));
    });
    expect(await books.query('SELECT failed_jobs FROM usage_15m')).toEqual([{ failed_jobs: 9n }]);
  });

  it('ends in the same books however facts are repeated, reordered, split and spread over two stores', async () => {
    await setPrices();
    const stores = [books.store, await books.another()] as const;
    let run = 0;

    const usage = fc
      .tuple(
        fc.integer({ min: 0, max: 5_000 }),
        fc.integer({ min: 0, max: 5_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
      )
      .map(([inputTokens, outputTokens, part]) => ({
        inputTokens,
        outputTokens,
        cachedTokens: Math.floor(inputTokens * part),
      }));
    const job = fc.record({
      state: fc.constantFrom(...TERMINAL_STATES),
      usage,
      model: fc.constantFrom('embedder', 'other', 'unpriced'),
      tenant: fc.constantFrom('a', 'b'),
      agoMs: fc.integer({ min: 0, max: 7_200_000 }),
      isAccepted: fc.boolean(),
      isCompleted: fc.boolean(),
    });
    const deliveries = fc.array(fc.record({ pick: fc.nat(), store: fc.nat(1), closesBatch: fc.boolean() }), {
      maxLength: 60,
    });

    await fc.assert(
      fc.asyncProperty(fc.array(job, { minLength: 1, maxLength: 12 }), deliveries, async (jobs, noise) => {
        run += 1;
        const tenantOf = (name: string): string => `${name}-${run}`;
        const facts = jobs.flatMap((one): Fact[] => {
          const base = { jobId: jobIdAt(Date.now() - one.agoMs), tenantId: tenantOf(one.tenant), model: one.model };
          return [
            ...(one.isAccepted ? [accepted(base)] : []),
            ...(one.isCompleted
              ? [completed({ ...base, state: one.state, usage: one.usage, reservedTokens: 5_000, reservedNanoUsd: 9 })]
              : []),
          ];
        });
        if (facts.length === 0) return;

        // Two queues of batches, worked off at once; each fact is delivered at least once.
        const batches: [Fact[][], Fact[][]] = [[[]], [[]]];
        const deliver = (
          fact: Fact | undefined,
          { store, closesBatch }: { store: number; closesBatch: boolean },
        ): void => {
          const queue = batches[store === 0 ? 0 : 1];
          if (fact) queue.at(-1)?.push(fact);
          if (closesBatch) queue.push([]);
        };
        noise.forEach((one) => deliver(facts[one.pick % facts.length], one));
        facts.forEach((fact, index) => deliver(fact, { store: index % 2, closesBatch: index % 3 === 0 }));

        const news = { accepted: [] as string[], completed: [] as string[] };
        await Promise.all(
          stores.map(async (store, index) => {
            for (const batch of batches[index === 0 ? 0 : 1]) {
              const outcome = await store.recordFacts(batch);
              news.accepted.push(...outcome.newlyAccepted);
              news.completed.push(...outcome.newlyCompleted.keys());
            }
          }),
        );

        const expected = facts.map(({ type, message }) =>
          type === 'accepted'
            ? [message.jobId, 1, message.inputTokens, message.maxOutputTokens, 0n]
            : [
                message.jobId,
                2,
                message.usage.inputTokens,
                message.usage.outputTokens,
                message.model === 'unpriced' ? 0n : amountOf(message.state, message.usage),
              ],
        );
        const rows = await books.query<LedgerRow>(LEDGER, [[tenantOf('a'), tenantOf('b')]]);
        const recorded = rows.map((row) => [
          row.job_id,
          row.phase,
          row.input_tokens,
          row.output_tokens,
          row.amount_nano_usd,
        ]);
        const inOrder = (entries: unknown[][]): unknown[][] =>
          entries.sort((x, y) => `${String(x[0])}${String(x[1])}`.localeCompare(`${String(y[0])}${String(y[1])}`));
        expect(inOrder(recorded)).toEqual(inOrder(expected));
        // Exactly one call says of each entry that it is new.
        expect(news.accepted.sort()).toEqual(rows.filter(({ phase }) => phase === 1).map((row) => row.job_id));
        expect(news.completed.sort()).toEqual(rows.filter(({ phase }) => phase === 2).map((row) => row.job_id));
        await expectNoDrift();
      }),
      { numRuns: 40 },
    );
    const [counts] = await books.query(
      `SELECT (SELECT count(*) FROM ledger WHERE phase = 1) = (SELECT count(*) FROM jobs) AS jobs,
              (SELECT count(*) FROM ledger WHERE phase = 2) = (SELECT count(*) FROM job_results) AS results`,
    );
    expect(counts).toEqual({ jobs: true, results: true });
  });

  it('lets stores record the same facts at once in opposite orders without a deadlock', async () => {
    // A store that lost against another would log it and try again.
    const lines: string[] = [];
    const watching = createLogger({ app: 'test', level: 'warn', stream: { write: (line) => void lines.push(line) } });
    const stores = await Promise.all([1, 2].map(() => books.another(watching)));
    for (let round = 0; round < 8; round++) {
      const facts = Array.from({ length: 600 }, (_, index) => {
        const base = { jobId: newJobId(), tenantId: `tenant-${index % 60}`, model: `model-${index % 7}` };
        return [accepted(base), completed(base)];
      }).flat();
      const backwards = [...facts].reverse();
      const calls = stores.flatMap((store) => [store.recordFacts(facts), store.recordFacts(backwards)]);
      const outcomes = await Promise.all(calls);
      expect(outcomes.reduce((sum, { newlyCompleted }) => sum + newlyCompleted.size, 0)).toBe(600);
    }
    expect(lines).toEqual([]);
    await expectNoDrift();
  });
});

describe('the ledger', () => {
  it('refuses to be changed or emptied, in every partition', async () => {
    await books.store.recordFacts([accepted({ jobId: newJobId() }), accepted({ jobId: jobIdAt(0) })]);
    const tables = await books.query<{ name: string }>(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'ledger'::regclass`,
    );
    expect(tables.length).toBeGreaterThan(4);
    for (const name of ['ledger', ...tables.map((table) => table.name)]) {
      await expect(books.query(`TRUNCATE ${name}`)).rejects.toMatchObject({ code: '23001' });
    }
    await expect(books.query('UPDATE ledger SET amount_nano_usd = 1')).rejects.toMatchObject({ code: '23001' });
    await expect(books.query('DELETE FROM ledger')).rejects.toMatchObject({ code: '23001' });
    await expect(books.query('DELETE FROM ledger_default')).rejects.toMatchObject({ code: '23001' });
  });

  it('refuses an entry whose time is not the time of its job id', async () => {
    const insert = `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, input_tokens, output_tokens)
      VALUES ($1, to_timestamp($2 / 1000.0), 1, 'acme', $3, 'm', 1, 1)`;
    const timeMs = Date.now();
    const jobId = jobIdAt(timeMs);
    await books.query(insert, [jobId, timeMs, KEY_ID]);
    await expect(books.query(insert, [jobId, timeMs, KEY_ID])).rejects.toMatchObject({ code: '23505' });
    for (const wrong of [timeMs + 1, timeMs - 1, timeMs + 40 * 86_400_000]) {
      await expect(books.query(insert, [jobId, wrong, KEY_ID])).rejects.toMatchObject({
        constraint: 'ledger_job_at_is_of_job_id',
      });
    }
  });

  it('reads the time of a job id to the millisecond', async () => {
    const times = [0, 1, 999, 1_700_000_000_001, 1_795_239_458_177, 1_999_999_999_999, 2 ** 32 * 1000 - 1];
    const random = Array.from({ length: 2_000 }, () => Math.floor(Math.random() * 2 ** 32 * 1000));
    times.push(...random);
    const rows = await books.query<{ ms: string }>(
      'SELECT extract(epoch FROM uuid7_time(id)) * 1000 AS ms FROM unnest($1::uuid[]) AS id',
      [times.map(jobIdAt)],
    );
    expect(rows.map(({ ms }) => Number(ms))).toEqual(times);
  });
});
