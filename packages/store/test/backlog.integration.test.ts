import { describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import type { Fact, ModelBacklog } from '../src/index.js';
import { accepted, completed, jobIdAt, KEY_ID, useBooks } from './support.js';

const books = useBooks();
const embedder = { model: 'embedder', class: 'standard' } as const;

const newJob = (): string => jobIdAt(Date.now());

/** The backlog, which is always what the open jobs sum up to. */
async function backlog(): Promise<readonly ModelBacklog[]> {
  const found = await books.store.backlog();
  expect(await books.query('SELECT * FROM v_recon_backlog')).toEqual([]);
  return found;
}

const earlyEnds = async (): Promise<number> => (await books.query('SELECT * FROM backlog_ends')).length;

async function record(...facts: readonly Fact[]): Promise<readonly ModelBacklog[]> {
  await books.store.recordFacts(facts);
  return backlog();
}

describe('the backlog', () => {
  it('rises by the input of each accepted job and falls by the same when it ends, whatever it used', async () => {
    const [first, second, third] = [newJob(), newJob(), newJob()];
    const chat = { model: 'chat', class: 'batch', inputTokens: 7 } as const;
    expect(await backlog()).toEqual([]);
    await record(accepted({ jobId: first }), accepted({ jobId: second, inputTokens: 40 }));
    expect(await record(accepted({ jobId: third, ...chat }))).toEqual([
      { model: 'chat', class: 'batch', jobs: 1, inputTokens: 7 },
      { ...embedder, jobs: 2, inputTokens: 140 },
    ]);
    const used = { inputTokens: 3, outputTokens: 9, cachedTokens: 0 };
    // With what it brings along, and without, as a sweep ends it.
    const ended = await record(
      accepted({ jobId: first }),
      completed({ jobId: first, usage: used }),
      completed({ jobId: second, state: 'expired' }),
    );
    expect(ended).toEqual([{ model: 'chat', class: 'batch', jobs: 1, inputTokens: 7 }]);
    expect(await record(completed({ jobId: third, model: 'chat' }))).toEqual([]);
  });

  it('counts each job once, however often its facts are told', async () => {
    const jobId = newJob();
    const both = [accepted({ jobId }), accepted({ jobId })];
    await record(...both);
    expect(await record(...both)).toEqual([{ ...embedder, jobs: 1, inputTokens: 100 }]);
    const ends = [completed({ jobId }), completed({ jobId, state: 'failed' })];
    expect(await record(...both, ...ends)).toEqual([]);
    expect(await record(...ends)).toEqual([]);
  });

  it('changes nothing for jobs whose facts come together', async () => {
    const jobId = newJob();
    expect(await record(completed({ jobId }), accepted({ jobId }))).toEqual([]);
    expect(await books.query('SELECT * FROM backlog')).toEqual([]);
  });

  it('is exact when a job ends before it is accepted, and the sweep tidies up', async () => {
    const [early, open] = [newJob(), newJob()];
    expect(await record(completed({ jobId: early }))).toEqual([]);
    expect(await record(accepted({ jobId: early }), accepted({ jobId: open }))).toEqual([
      { ...embedder, jobs: 1, inputTokens: 100 },
    ]);
    await record(completed({ jobId: newJob() }));
    expect(await earlyEnds()).toBe(2);
    await Promise.all([books.store.expiredOpenHolds(10), (await books.another()).expiredOpenHolds(10)]);
    expect(await earlyEnds()).toBe(1);
    expect(await backlog()).toEqual([{ ...embedder, jobs: 1, inputTokens: 100 }]);
  });

  it.each([
    {
      name: 'an end',
      facts: [completed, accepted],
      inTheWay: `INSERT INTO usage_15m
        VALUES ('acme', usage_bucket(uuid7_time($1)), 'embedder', $2, 0, 0, 0, 0, 0, 0)`,
    },
    {
      name: 'an acceptance',
      facts: [accepted, completed],
      inTheWay: `INSERT INTO jobs (job_id, job_at, tenant_id, api_key_id, model, class, input_tokens, max_output_tokens,
          reserved_tokens, expires_at)
        VALUES ($1, uuid7_time($1), 'acme', $2, 'embedder', 'batch', 0, 0, 0, now())`,
    },
  ] as const)('is exact when the other fact is recorded while $name waits to be committed', async (held) => {
    const [first, second] = held.facts;
    const jobId = newJob();
    const holder = new Client({ connectionString: books.url });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query(held.inTheWay, [jobId, KEY_ID]);
      const waiting = books.store.recordFacts([first({ jobId })]);
      await isHeldUp();
      await (await books.another()).recordFacts([second({ jobId })]);
      await holder.query('ROLLBACK');
      await waiting;
    } finally {
      await holder.end();
    }
    expect(await books.query('SELECT phase FROM ledger ORDER BY 1')).toEqual([{ phase: 1 }, { phase: 2 }]);
    expect(await backlog()).toEqual([]);
  });

  it('is corrected, once, after collectors that did not count', async () => {
    const [counted, missed] = [newJob(), newJob()];
    await record(accepted({ jobId: counted }), accepted({ jobId: missed, model: 'chat', inputTokens: 5 }));
    await books.query(`DELETE FROM backlog WHERE model = 'chat'`);
    await books.query(`UPDATE backlog SET jobs = jobs + 3, input_tokens = input_tokens - 1000`);
    expect(await books.query('SELECT * FROM v_recon_backlog ORDER BY 1')).toMatchObject([
      { model: 'chat', counted_jobs: 0n, open_jobs: 1n, counted_input_tokens: 0n, open_input_tokens: 5n },
      { model: 'embedder', counted_jobs: 4n, open_jobs: 1n, counted_input_tokens: -900n, open_input_tokens: 100n },
    ]);
    const corrected = await Promise.all([books.store.correctBacklog(), (await books.another()).correctBacklog()]);
    expect(corrected.toSorted()).toEqual([0, 2]);
    expect(await backlog()).toEqual([
      { model: 'chat', class: 'standard', jobs: 1, inputTokens: 5 },
      { ...embedder, jobs: 1, inputTokens: 100 },
    ]);
  });
});

/** Resolves when somebody waits for a row of somebody else. */
async function isHeldUp(): Promise<void> {
  for (;;) {
    const waiting = await books.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    if (waiting.length > 0) return;
  }
}
