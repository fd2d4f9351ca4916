import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import { createStore } from '../src/index.js';
import { loadStatement } from '../src/statements.js';
import { accepted, completed, jobIdAt, KEY_ID, logger, useBooks } from './support.js';

const books = useBooks();
const MINUTE = 60_000;

describe('accounts', () => {
  it('finds whom a key belongs to until it is revoked or expires', async () => {
    const { store } = books;
    await store.upsertTenant({ tenantId: 'acme', plan: 'free', timeZone: 'Europe/Berlin' });
    const [keyHash, expired, unknown] = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const key = { tenantId: 'acme', name: 'ci', prefix: 'sk_1' };
    const { apiKeyId } = await store.createApiKey({ ...key, keyHash });
    await store.createApiKey({ ...key, keyHash: expired, expiresAtMs: Date.now() - 1 });
    const own = { overrides: {}, keyLimits: {} };
    const principal = { tenantId: 'acme', apiKeyId, plan: 'free', timeZone: 'Europe/Berlin', ...own };
    expect(await store.findPrincipal(keyHash)).toEqual(principal);
    expect(await store.findPrincipal(expired)).toBeUndefined();
    expect(await store.findPrincipal(unknown)).toBeUndefined();

    await store.upsertTenant({ tenantId: 'acme', plan: 'team', timeZone: 'Asia/Kathmandu' });
    expect(await store.findPrincipal(keyHash)).toEqual({ ...principal, plan: 'team', timeZone: 'Asia/Kathmandu' });

    expect(await store.revokeApiKey(apiKeyId)).toBe(true);
    expect(await store.revokeApiKey(apiKeyId)).toBe(false);
    expect(await store.findPrincipal(keyHash)).toBeUndefined();
  });

  it('refuses a key for a tenant that does not exist and a time zone that does not', async () => {
    const key = { tenantId: 'nobody', name: 'n', prefix: 'p', keyHash: randomBytes(32) };
    await expect(books.store.createApiKey(key)).rejects.toMatchObject({ code: 'tenant_not_found' });
    for (const timeZone of ['Europe/Nowhere', 'XYZ5', '']) {
      await expect(books.store.upsertTenant({ tenantId: 'a', plan: 'p', timeZone })).rejects.toMatchObject({
        code: 'invalid_request',
      });
    }
  });
});

describe('findJob', () => {
  it('returns the job as it is known, and to its tenant only', async () => {
    const jobId = newJobId();
    const expiresAtMs = Date.now() + 5 * MINUTE;
    await books.store.recordFacts([accepted({ jobId, expiresAtMs, metadata: { a: 1 } })]);
    const queued = {
      jobId,
      tenantId: 'acme',
      apiKeyId: KEY_ID,
      model: 'embedder',
      class: 'standard',
      state: 'queued',
      inputTokens: 100,
      maxOutputTokens: 50,
      reservedTokens: 150,
      reservedNanoUsd: 0,
      expiresAtMs,
      metadata: { a: 1 },
    };
    expect(await books.store.findJob('acme', jobId)).toEqual(queued);
    expect(await books.store.findJob('other', jobId)).toBeUndefined();
    expect(await books.store.findJob('acme', newJobId())).toBeUndefined();
    expect(await books.store.findJob('acme', 'nonsense')).toBeUndefined();

    const output = { task: 'embedding' as const, dimensions: 1, embeddings: ['AAAAAA=='] };
    await books.store.recordFacts([completed({ jobId, output, attempt: 2, startedAtMs: 1, finishedAtMs: 1_001 })]);
    expect(await books.store.findJob('acme', jobId)).toEqual({
      ...queued,
      state: 'succeeded',
      usage: { inputTokens: 100, outputTokens: 20, cachedTokens: 0 },
      amountNanoUsd: 0n,
      modelVersion: '1',
      output,
      attempt: 2,
      startedAtMs: 1,
      finishedAtMs: 1_001,
    });
  });

  it('reads one partition of each table, with a plan that is made once', async () => {
    const { text } = loadStatement('find-job');
    await books.query('SET plan_cache_mode = force_generic_plan');
    await books.query(`PREPARE find_job (text, uuid) AS ${text}`);
    const plan = await books.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (COSTS OFF) EXECUTE find_job ('acme', '${newJobId()}')`,
    );
    const lines = plan.map((line) => line['QUERY PLAN']);
    for (const table of ['jobs', 'ledger', 'job_results']) {
      const scans = lines.filter((line) => new RegExp(` on ${table}_(\\d{4}_\\d\\d|default)`).test(line));
      expect(scans.filter((line) => !line.includes('newer'))).toHaveLength(1);
    }
    // Replays are looked for in the index that holds nothing else.
    const replays = lines.filter((line) => line.includes(' newer'));
    expect(replays.filter((line) => /Seq Scan/.test(line))).toEqual([]);
  });
});

describe('terminalFacts', () => {
  it('tells ended, open and unknown jobs apart', async () => {
    const [ended, open, unknown] = [newJobId(), newJobId(), newJobId()];
    const usage = { inputTokens: 3, outputTokens: 2, cachedTokens: 1 };
    await books.store.recordFacts([accepted({ jobId: open }), completed({ jobId: ended, state: 'canceled', usage })]);
    const facts = await books.store.terminalFacts([ended, open, unknown, 'nonsense']);
    expect(facts).toEqual(
      new Map<string, unknown>([
        [ended, { state: 'canceled', usage, amountNanoUsd: 0n }],
        [open, 'open'],
      ]),
    );
    expect((await books.store.terminalFacts([])).size).toBe(0);
  });
});

describe('holds', () => {
  const holdIds = async (): Promise<string[]> =>
    (await books.store.quotaFacts({ tenantId: 'acme', measures: [] })).openHolds.map(({ jobId }) => jobId);
  const expiredIds = async (limit = 100): Promise<string[]> =>
    (await books.store.expiredOpenHolds(limit)).map(({ jobId }) => jobId);

  it('finds expired ones after the grace, earliest deadline first, until they end', async () => {
    const now = Date.now();
    const deadline = (minutes: number) => ({ jobId: jobIdAt(now), expiresAtMs: now - minutes * MINUTE });
    const [third, first, second, fresh] = [deadline(3), deadline(30), deadline(20), deadline(1)];
    await books.store.recordFacts([third, first, second, fresh].map(accepted));
    expect(await expiredIds(2)).toEqual([first.jobId, second.jobId]);
    expect(await books.store.expiredOpenHolds(1)).toEqual([
      { jobId: first.jobId, tenantId: 'acme', apiKeyId: KEY_ID, model: 'embedder', class: 'standard' },
    ]);
    await books.store.recordFacts([completed({ jobId: first.jobId, state: 'expired' })]);
    expect(await expiredIds()).toEqual([second.jobId, third.jobId]);
    await books.store.recordFacts([second, third].map(({ jobId }) => completed({ jobId, state: 'expired' })));
    expect(await expiredIds()).toEqual([]);
    expect(await holdIds()).toEqual([fresh.jobId]);
    // The one whose grace has not passed is all that is remembered.
    expect(await books.query('SELECT job_id FROM overdue_jobs')).toEqual([{ job_id: fresh.jobId }]);
  });

  it('finds a job that was recorded only after the sweep had passed its deadline', async () => {
    expect(await expiredIds()).toEqual([]);
    const [mark] = await books.query(`SELECT swept_until > now() - interval '3 minutes' AS advanced FROM hold_sweep`);
    expect(mark).toEqual({ advanced: true });
    const late = { jobId: jobIdAt(Date.now() - 60 * MINUTE), expiresAtMs: Date.now() - 30 * MINUTE };
    await books.store.recordFacts([accepted(late)]);
    expect(await holdIds()).toEqual([late.jobId]);
    expect(await expiredIds()).toEqual([late.jobId]);
    expect(await expiredIds()).toEqual([late.jobId]);
    expect(await books.query('SELECT job_id FROM v_recon_missing_terminal')).toEqual([{ job_id: late.jobId }]);
  });

  it('is swept in steps of any size, also where many jobs share a deadline', async () => {
    const minutesAgo = [9, 8, 8, 8, 7, 6, 6, 5, 4, 1];
    const jobIds = minutesAgo.map(() => newJobId());
    await books.query(
      `INSERT INTO jobs SELECT id, uuid7_time(id), 'acme', $3, 'm', 'batch', 1, 1, 2, now() - ago * interval '1 minute'
       FROM unnest($1::uuid[], $2::int[]) AS t (id, ago)`,
      [jobIds, minutesAgo, KEY_ID],
    );
    const ended = jobIds.filter((_, index) => index % 2 === 0);
    await books.store.recordFacts(ended.map((jobId) => completed({ jobId })));
    const { text } = loadStatement('advance-sweep');
    const examined: number[] = [];
    do {
      const [row] = await books.query<{ examined: number }>(text, [2]);
      examined.push(row?.examined ?? 0);
    } while ((examined.at(-1) ?? 0) >= 2);
    // All nine that are past the grace, those with the same deadline together.
    expect(examined).toEqual([4, 3, 2, 0]);
    const open = jobIds.filter((_, index) => index % 2 === 1);
    const noted = await books.query<{ job_id: string }>('SELECT job_id FROM overdue_jobs');
    expect(noted.map((row) => row.job_id).sort()).toEqual(open.slice(0, -1).sort());
    expect((await holdIds()).sort()).toEqual([...open].sort());
  });

  it('remembers a job that is still open when the mark passes it', async () => {
    const jobId = jobIdAt(Date.now());
    await books.query(
      `INSERT INTO jobs SELECT $1, uuid7_time($1), 'acme', $2, 'm', 'batch', 1, 1, 2, now() - interval '10 minutes'`,
      [jobId, KEY_ID],
    );
    expect(await expiredIds()).toEqual([jobId]);
    await books.store.recordFacts([accepted({ jobId: newJobId(), expiresAtMs: Date.now() - 5 * MINUTE })]);
    expect(await holdIds()).toContain(jobId);
    expect((await expiredIds())[0]).toBe(jobId);
    await books.store.recordFacts([completed({ jobId, state: 'expired' })]);
    expect(await expiredIds()).not.toContain(jobId);
  });
});

describe('dead letters', () => {
  it('are kept as they arrived, once for each attempt', async () => {
    const letter = {
      queue: 'results',
      reason: 'malformed_message\0',
      attempts: 5,
      type: 'job.completed.v1',
      messageId: 'm-1',
      jobId: 'not a uuid',
      headers: { 'x-attempt': 5, note: 'a\0' },
      payload: Buffer.from([0, 255, 1]),
      payloadBytes: 3_000_000,
    };
    await Promise.all([books.store.recordDeadLetter(letter), books.store.recordDeadLetter(letter)]);
    await books.store.recordDeadLetter({ ...letter, attempts: 6 });
    await books.store.recordDeadLetter({ ...letter, messageId: '', payload: Buffer.from('other') });
    const rows = await books.query<{ attempts: number; message_id: string }>(
      'SELECT * FROM dead_letters ORDER BY attempts, message_id DESC',
    );
    expect(rows.map(({ attempts, message_id }) => [attempts, message_id])).toEqual([
      [5, 'm-1'],
      [5, ''],
      [6, 'm-1'],
    ]);
    expect(rows[0]).toMatchObject({
      queue: 'results',
      reason: 'malformed_message\uFFFD',
      job_id: null,
      headers: { 'x-attempt': 5, note: 'a\uFFFD' },
      payload: letter.payload,
      payload_bytes: 3_000_000,
    });
  });
});

describe('a store', () => {
  const options = { applicationName: 'stress', poolSize: 2, statementTimeoutMs: 5_000, logger };

  it('says store_unavailable when nobody answers, and while a statement takes too long', async () => {
    const nowhere = createStore({ ...options, url: 'postgres://nobody@127.0.0.1:1/none' });
    await expect(nowhere.start()).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(nowhere.recordFacts([accepted({ jobId: newJobId() })])).rejects.toMatchObject({
      code: 'store_unavailable',
    });
    await nowhere.stop();

    const hasty = createStore({ ...options, url: books.url, statementTimeoutMs: 50 });
    await books.query('BEGIN; LOCK TABLE hold_sweep');
    await expect(hasty.ping()).rejects.toMatchObject({ code: 'store_unavailable' });
    await books.query('ROLLBACK');
    await expect(hasty.ping()).resolves.toBeUndefined();
    await hasty.stop();
  });

  it('works again after the server has ended its connections', async () => {
    await books.store.ping();
    await books.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'store-test'`);
    // The first call may meet a connection whose end has not been noticed yet.
    await books.store.ping().catch((error: unknown) => expect(error).toMatchObject({ code: 'store_unavailable' }));
    await expect(books.store.ping()).resolves.toBeUndefined();
  });

  it('may be stopped twice, without a start, and leaves no connection behind', async () => {
    for (let round = 0; round < 10; round++) {
      const store = createStore({ ...options, url: books.url });
      if (round % 3 > 0) await store.start();
      await Promise.all([store.stop(), store.stop()]);
      await store.stop();
    }
    // The server ends a session a moment after the client has said goodbye.
    const connections = `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stress'`;
    let left: unknown[] = [];
    for (let look = 0; look < 200; look++) {
      left = await books.query(connections);
      if ((left[0] as { count: bigint }).count === 0n) break;
    }
    expect(left).toEqual([{ count: 0n }]);
  });
});
