import { describe, expect, it } from '@jest/globals';
import type { CompletedMessage, JobState } from '@sluice/contracts';
import type { JobListQuery } from '../src/index.js';
import { loadStatement } from '../src/statements.js';
import { accepted, completed, jobIdAt, KEY_ID, useBooks } from './support.js';

const books = useBooks();
const OTHER_KEY = '00000000-0000-4000-8000-000000000002';
const MINUTE = 60_000;

type Job = Parameters<typeof accepted>[0] & Partial<Pick<CompletedMessage, 'state' | 'error'>>;

async function record({ state, error, ...job }: Job): Promise<string> {
  const { tenantId = 'acme', apiKeyId = KEY_ID, model = 'embedder', class: jobClass = 'standard', jobId } = job;
  const end = { jobId, tenantId, apiKeyId, model, class: jobClass, ...(error && { error }) };
  await books.store.recordFacts([accepted(job), ...(state ? [completed({ ...end, state })] : [])]);
  return jobId;
}

async function list(query: Partial<JobListQuery> = {}): Promise<readonly string[]> {
  return (await books.store.listJobs({ tenantId: 'acme', limit: 100, ...query })).jobs.map(({ jobId }) => jobId);
}

describe('listJobs', () => {
  it('lists the jobs of one tenant, newest first, with their ends but not their outputs', async () => {
    const now = Date.now();
    const error = { code: 'inference_failed', detail: 'no' };
    const old = await record({ jobId: jobIdAt(now - 40 * 86_400_000), state: 'succeeded' });
    const failed = await record({ jobId: jobIdAt(now - MINUTE), state: 'failed', error });
    const open = await record({ jobId: jobIdAt(now), metadata: { team: 'search' } });
    await record({ jobId: jobIdAt(now), tenantId: 'other' });
    const { jobs, next } = await books.store.listJobs({ tenantId: 'acme', limit: 100 });
    expect(next).toBeUndefined();
    expect(jobs.map(({ jobId }) => jobId)).toEqual([open, failed, old]);
    expect(jobs[0]).toMatchObject({
      state: 'queued',
      usage: undefined,
      metadata: { team: 'search' },
      error: undefined,
    });
    expect(jobs[1]).toMatchObject({ state: 'failed', error, usage: { inputTokens: 100, outputTokens: 20 } });
    for (const job of jobs) {
      const {
        output: _output,
        replayedAs: _replayedAs,
        ...found
      } = (await books.store.findJob('acme', job.jobId)) ?? {};
      expect(job).toEqual(found);
    }
  });

  it('pages from the last job of the page before, also where jobs share a millisecond', async () => {
    const now = Date.now();
    const ids: string[] = [];
    for (let index = 0; index < 7; index++) ids.push(await record({ jobId: jobIdAt(now) }));
    const newestFirst = ids.toReversed();
    const first = await list({ limit: 3 });
    const second = await list({ limit: 3, beforeJobId: first.at(-1) });
    const third = await list({ limit: 3, beforeJobId: second.at(-1) });
    expect([...first, ...second, ...third]).toEqual(newestFirst);
    expect(await list({ beforeJobId: ids[0] })).toEqual([]);
    expect(await list({ beforeJobId: 'not a job' })).toEqual([]);
  });

  it('filters by state, model, class, key and time', async () => {
    const now = Date.now();
    const queued = await record({ jobId: jobIdAt(now - 5) });
    const succeeded = await record({ jobId: jobIdAt(now - 4), state: 'succeeded' });
    const expired = await record({ jobId: jobIdAt(now - 3), state: 'expired', model: 'other' });
    const batch = await record({ jobId: jobIdAt(now - 2), class: 'batch' });
    const keyed = await record({ jobId: jobIdAt(now - 1), apiKeyId: OTHER_KEY, state: 'succeeded' });
    expect(await list({ states: ['queued'] })).toEqual([batch, queued]);
    expect(await list({ states: ['succeeded', 'expired'] })).toEqual([keyed, expired, succeeded]);
    expect(await list({ states: [] })).toEqual([]);
    expect(await list({ model: 'other' })).toEqual([expired]);
    expect(await list({ class: 'batch' })).toEqual([batch]);
    expect(await list({ apiKeyId: OTHER_KEY })).toEqual([keyed]);
    expect(await list({ apiKeyId: 'none' })).toEqual([]);
    expect(await list({ states: ['succeeded'], apiKeyId: KEY_ID })).toEqual([succeeded]);
    expect(await list({ fromMs: now - 4, toMs: now - 2 })).toEqual([expired, succeeded]);
    expect(await list({ toMs: now - 2, beforeJobId: keyed })).toEqual([expired, succeeded, queued]);
    expect(await list({ fromMs: -1e15, toMs: 1e15, limit: 1 })).toEqual([keyed]);
  });

  it('finds queued jobs alone as it finds them among all, before and after a sweep', async () => {
    const now = Date.now();
    const ids: string[] = [];
    for (let index = 0; index < 12; index++) {
      const model = index % 2 === 0 ? 'embedder' : 'other';
      const expiresAtMs = index % 4 < 2 ? now - 600_000 : now + 600_000;
      const ended = index % 3 === 0 ? { state: 'succeeded' as const } : {};
      ids.push(await record({ jobId: jobIdAt(now - 900_000 + index), model, expiresAtMs, ...ended }));
    }
    const queries: Partial<JobListQuery>[] = [
      {},
      { model: 'other' },
      { class: 'batch' },
      { apiKeyId: KEY_ID, limit: 3 },
      { beforeJobId: ids[7] },
      { fromMs: now - 900_000 + 2, toMs: now - 900_000 + 9 },
    ];
    const check = async (): Promise<void> => {
      for (const query of queries) {
        const all = await books.store.listJobs({ tenantId: 'acme', ...query, limit: 100 });
        const among = all.jobs.filter(({ state }) => state === 'queued').slice(0, query.limit);
        const states = ['queued', 'queued'] as const;
        const alone = await books.store.listJobs({ tenantId: 'acme', limit: 100, ...query, states });
        expect(alone.jobs).toEqual(among);
      }
      expect(await list({ states: ['queued'] })).toHaveLength(8);
    };
    await check();
    await books.store.expiredOpenHolds(100);
    await check();
  });

  it('gives every job that passes the filters once, newest first, however short it cuts its walks', async () => {
    const now = Date.now();
    const ends = ['succeeded', 'succeeded', 'failed', undefined, 'canceled', 'succeeded', 'expired'] as const;
    const jobs: { readonly jobId: string; readonly state: JobState; readonly model: string }[] = [];
    for (let index = 0; index < 40; index++) {
      const state = ends[(index * 5) % ends.length];
      const model = index % 4 === 0 ? 'rare' : 'usual';
      // Over two months, three jobs to a millisecond.
      const timeMs = now - (index < 20 ? 40 * 86_400_000 : 0) + Math.floor(index / 3);
      const jobId = await record({ jobId: jobIdAt(timeMs), model, ...(state && { state }) });
      jobs.unshift({ jobId, state: state ?? 'queued', model });
    }
    const filters: Pick<JobListQuery, 'states' | 'model'>[] = [
      {},
      { model: 'rare' },
      { states: ['failed'] },
      { states: ['failed', 'queued'], model: 'rare' },
      { states: ['queued', 'canceled', 'expired'] },
      { states: ['succeeded', 'queued'], model: 'rare' },
    ];
    for (const filter of filters) {
      const expected = jobs.filter(
        ({ state, model }) =>
          (filter.states ?? [state]).some((wanted) => wanted === state) && (filter.model ?? model) === model,
      );
      for (const [limit, maxExamined] of [
        [3, 100],
        [3, 4],
        [100, 1],
        [1, 5],
        [100, 100],
      ] as const) {
        const found: string[] = [];
        let beforeJobId: string | undefined;
        do {
          const query = { tenantId: 'acme', ...filter, limit, maxExamined, beforeJobId };
          const { jobs: page, next } = await books.store.listJobs(query);
          expect(page.length).toBeLessThanOrEqual(limit);
          found.push(...page.map(({ jobId }) => jobId));
          beforeJobId = next;
        } while (beforeJobId !== undefined);
        expect({ filter, limit, maxExamined, found }).toEqual({
          ...{ filter, limit, maxExamined },
          found: expected.map(({ jobId }) => jobId),
        });
      }
    }
  });

  it('looks at no more jobs for a page than it may, and at failed ones alone when those are asked for', async () => {
    const now = Date.now();
    const failed = await record({ jobId: jobIdAt(now - 5 * MINUTE), state: 'failed' });
    const other = await record({ jobId: jobIdAt(now - 4 * MINUTE), state: 'succeeded', model: 'other' });
    for (let index = 0; index < 9; index++) await record({ jobId: jobIdAt(now + index), state: 'succeeded' });
    const query = { tenantId: 'acme', limit: 10, maxExamined: 3 };
    const short = await books.store.listJobs({ ...query, model: 'other' });
    expect(short).toEqual({ jobs: [], next: expect.any(String) });
    const pages = [short];
    for (let next = short.next; next !== undefined; next = pages.at(-1)?.next) {
      pages.push(await books.store.listJobs({ ...query, model: 'other', beforeJobId: next }));
    }
    expect(pages.map(({ jobs }) => jobs.map(({ jobId }) => jobId))).toEqual([[], [], [], [other]]);
    const { jobs, next } = await books.store.listJobs({ ...query, states: ['failed'] });
    expect({ ids: jobs.map(({ jobId }) => jobId), next }).toEqual({ ids: [failed], next: undefined });
  });

  it('reads only the partitions of the time asked for', async () => {
    const now = Date.now();
    const first = `${now.toString(16).padStart(12, '0')}`;
    const bound = (hex: string) => `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
    const values = [
      'acme',
      bound(first),
      bound((now + 1).toString(16).padStart(12, '0')),
      null,
      null,
      null,
      null,
      10,
      1000,
    ];
    await books.query('SET plan_cache_mode = force_generic_plan');
    await books.query(
      `PREPARE p (text, uuid, uuid, text[], text, job_class, uuid, int, int) AS ${loadStatement('list-jobs').text}`,
    );
    const literals = values.map((value) => (value === null ? 'NULL' : `'${value}'`)).join(', ');
    const plan = await books.query<{ 'QUERY PLAN': string }>(`EXPLAIN (ANALYZE, COSTS OFF) EXECUTE p (${literals})`);
    const text = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toContain('Subplans Removed');
    // The month and the default partition.
    expect(new Set(text.match(/ on jobs_\w+/g)).size).toBeLessThanOrEqual(2);
  });

  it('has each job once while jobs fail that it lists as queued or failed', async () => {
    const ids = Array.from({ length: 400 }, () => jobIdAt(Date.now()));
    await books.store.recordFacts(ids.map((jobId) => accepted({ jobId })));
    const recorder = await books.another();
    let isOver = false;
    const ending = (async () => {
      for (const jobId of ids) await recorder.recordFacts([completed({ jobId, state: 'failed' })]);
    })().finally(() => (isOver = true));
    const inOrder = ids.toSorted().reverse();
    while (!isOver) expect(await list({ states: ['queued', 'failed'], limit: 1_000 })).toEqual(inOrder);
    await ending;
  });
});
