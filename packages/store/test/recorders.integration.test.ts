import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import fc from 'fast-check';
import { Client } from 'pg';
import { type Fact, type RecordOutcome, type Store, syncPrices } from '../src/index.js';
import { createStoreModel } from '../src/model/index.js';
import { BEGIN_MS, DAY, factsOf, job, type JobFacts } from './random-books.js';
import { booksOf, readBooks } from './store-model-reads.js';
import { logger } from './support.js';
import { useTurnedBooks } from './turned-books.js';

const books = useTurnedBooks();
const PRICES = (['embedder', 'chat'] as const).flatMap((model) =>
  (['input', 'output', 'cached', 'request'] as const).map((meter, index) => ({
    ...{ model, meter, usdPerMillion: `0.12345678${index}`, from: new Date(BEGIN_MS - 2 * DAY).toISOString() },
  })),
);

const pick = fc.tuple(fc.nat(9), fc.nat(2));
const batch = fc.array(pick, { minLength: 1, maxLength: 10, size: 'max' });
/** Where a recorder is held up in the midst of its statement, and by a row of which job. */
const crash = fc.record({ batch, at: fc.constantFrom('ledger', 'usage_15m', 'jobs', 'job_results'), of: fc.nat(9) });

/** Facts of one history, and what calls to record them said. */
interface World {
  readonly facts: readonly JobFacts[];
  readonly told: Set<Fact>;
  readonly outcomes: RecordOutcome[];
}

function batchOf({ facts }: World, picks: readonly (readonly [number, number])[]): readonly Fact[] {
  return picks.flatMap(([which, fact]) => facts[which % facts.length]?.slice(fact, fact + 1) ?? []);
}

async function record(world: World, store: Store, facts: readonly Fact[]): Promise<void> {
  world.outcomes.push(await store.recordFacts(facts));
  facts.forEach((fact) => world.told.add(fact));
}

describe('recorders', () => {
  let holder: Client;
  let killed = 0;
  beforeAll(async () => {
    holder = new Client({ connectionString: books.url });
    await holder.connect();
  });
  afterAll(() => holder.end());

  /** Puts a row in the way of a job's, so that whoever records the job waits until this transaction ends. */
  async function holdUp(at: string, [{ message }]: JobFacts): Promise<void> {
    const { jobId, tenantId, apiKeyId, model } = message;
    const rows: Record<string, string> = {
      ledger: `(job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens)
        VALUES ($1, uuid7_time($1), 1, $2, $3, $4, NULL, 0, 0), ($1, uuid7_time($1), 2, $2, $3, $4, 'failed', 0, 0)`,
      usage_15m: `(tenant_id, bucket, model, api_key_id, jobs, failed_jobs, input_tokens, output_tokens, cached_tokens,
        amount_nano_usd) VALUES ($2, usage_bucket(uuid7_time($1)), $4, $3, 0, 0, 0, 0, 0, 0)`,
      jobs: `(job_id, job_at, tenant_id, api_key_id, model, class, input_tokens, max_output_tokens, reserved_tokens,
        expires_at) VALUES ($1, uuid7_time($1), $2, $3, $4, 'batch', 0, 0, 0, now())`,
      job_results: `(job_id, job_at, finished_at, attempt, model_version)
        SELECT $1::uuid, uuid7_time($1), now(), 1, $2::text || $3::uuid || $4::text`,
    };
    await holder.query('BEGIN');
    await holder.query(`INSERT INTO ${at} ${rows[at]} ON CONFLICT DO NOTHING`, [jobId, tenantId, apiKeyId, model]);
  }

  /** Resolves when `call` ends or waits for a lock; then kills whoever waits. True when somebody was killed. */
  async function killWhenStuck(call: Promise<unknown>): Promise<boolean> {
    let isOver = false;
    const over = (): void => void (isOver = true);
    call.then(over, over);
    while (!isOver) {
      const victims = await books.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'turned-books' AND wait_event_type = 'Lock'`);
      if (victims.length > 0) return true;
    }
    return false;
  }

  /** A recorder dies in the midst of its statement: nothing of it stays. */
  async function crashes(world: World, { picks, at, of }: { picks: [number, number][]; at: string; of: number }) {
    const facts = batchOf(world, picks);
    const victim = world.facts[of % world.facts.length];
    if (victim === undefined) return;
    const before = await readBooks(books);
    await holdUp(at, victim);
    const call = books.stores[0].recordFacts(facts);
    const wasKilled = await killWhenStuck(call);
    await holder.query('ROLLBACK');
    if (!wasKilled) {
      world.outcomes.push(await call);
      facts.forEach((fact) => world.told.add(fact));
      return;
    }
    killed += 1;
    await expect(call).rejects.toThrow(ServiceError);
    expect(await readBooks(books)).toEqual(before);
    await record(world, books.stores[0], facts);
  }

  /** Everything is told again, each in another order: nothing of it is new. */
  async function repeatAll({ told }: World): Promise<void> {
    const before = await readBooks(books);
    for (const facts of [[...told].reverse(), [...told].flatMap((fact) => [fact, fact])]) {
      expect(await books.stores[1].recordFacts(facts)).toEqual({
        newlyAccepted: new Set(),
        newlyCompleted: new Map(),
      });
    }
    expect(await readBooks(books)).toEqual(before);
  }

  /** The books are those of the facts that won, told one by one; each of them was new in exactly one call. */
  async function checkBooks({ told, outcomes }: World): Promise<void> {
    const versions = await books.query<{ job_id: string; model_version: string }>('SELECT * FROM job_results');
    const winner = new Map(versions.map((row) => [row.job_id, row.model_version]));
    const won = [...told].filter(
      ({ type, message }) =>
        type === 'accepted' || winner.get(message.jobId) === (message as { modelVersion?: string }).modelVersion,
    );
    const model = createStoreModel();
    model.syncPrices(BEGIN_MS, PRICES);
    for (const fact of won) model.recordFacts(BEGIN_MS, [fact]);
    expect(await readBooks(books)).toEqual(booksOf(model));
    expect(await books.stores[0].backlog()).toEqual(model.backlog(BEGIN_MS));
    expect(await books.query('SELECT * FROM v_recon_backlog')).toEqual([]);
    const news = (type: Fact['type']): string[] =>
      outcomes
        .flatMap(({ newlyAccepted, newlyCompleted }) => [
          ...(type === 'accepted' ? newlyAccepted : newlyCompleted.keys()),
        ])
        .sort();
    const ids = (type: Fact['type']): string[] => [
      ...new Set([...told].filter((fact) => fact.type === type).map(({ message }) => message.jobId)),
    ];
    expect(news('accepted')).toEqual(ids('accepted').sort());
    expect(news('completed')).toEqual(ids('completed').sort());
    const billed = outcomes.flatMap(({ newlyCompleted }) => [...newlyCompleted.values()]);
    expect(await sumOfMoney()).toEqual(billed.reduce((sum, amount) => sum + amount, 0n));
  }

  async function sumOfMoney(): Promise<bigint> {
    const [row] = await books.query<{ ledger: bigint; rollup: bigint }>(`SELECT
      (SELECT coalesce(sum(amount_nano_usd), 0)::bigint FROM ledger) AS ledger,
      (SELECT coalesce(sum(amount_nano_usd), 0)::bigint FROM usage_15m) AS rollup`);
    expect(row?.rollup).toBe(row?.ledger);
    return row?.ledger ?? -1n;
  }

  /** What the roll-up should be, by other means than its view of reconciliation. */
  async function checkRollup(): Promise<void> {
    const columns = 'jobs, failed_jobs, input_tokens, output_tokens, cached_tokens, amount_nano_usd, overage_tokens';
    const summed = `SELECT tenant_id, to_timestamp(floor(extract(epoch FROM job_at) / 900) * 900) AS bucket, model, api_key_id,
        count(*) AS jobs, sum((state <> 'succeeded')::int) AS failed_jobs, sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens, sum(cached_tokens) AS cached_tokens, sum(amount_nano_usd)::bigint AS amount_nano_usd,
        sum(overage_tokens) AS overage_tokens
      FROM ledger WHERE phase = 2 GROUP BY 1, 2, 3, 4`;
    const differences = await books.query(`WITH summed AS (${summed}), kept AS (
        SELECT tenant_id, bucket, model, api_key_id, ${columns} FROM usage_15m)
      (TABLE summed EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE summed)`);
    expect(differences).toEqual([]);
  }

  it('add each fact once, several at a time, killed in the midst and repeated', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(job, { minLength: 2, maxLength: 8, size: 'max' }),
        fc.tuple(
          fc.array(batch, { maxLength: 4 }),
          fc.array(batch, { maxLength: 4 }),
          fc.array(batch, { maxLength: 4 }),
        ),
        fc.array(crash, { maxLength: 2 }),
        async (jobs, queues, kills) => {
          await books.empty();
          await books.turn(BEGIN_MS);
          await syncPrices({ url: books.url, prices: PRICES, logger });
          const world: World = { facts: factsOf(jobs), told: new Set(), outcomes: [] };
          const [first, second] = kills;
          if (first) await crashes(world, { picks: first.batch, at: first.at, of: first.of });
          await Promise.all(
            queues.map(async (queue, index) => {
              for (const picks of queue)
                await record(world, books.stores[index] ?? books.stores[0], batchOf(world, picks));
            }),
          );
          if (second) await crashes(world, { picks: second.batch, at: second.at, of: second.of });
          await checkBooks(world);
          await checkRollup();
          await repeatAll(world);
        },
      ),
      { numRuns: 60, interruptAfterTimeLimit: 50_000 },
    );
    expect(killed).toBeGreaterThan(10);
  }, 60_000);
});
