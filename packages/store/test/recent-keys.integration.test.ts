import { describe, expect, it } from '@jest/globals';
import type { Fact } from '../src/index.js';
import { loadStatement } from '../src/statements.js';
import { accepted, completed, jobIdAt, useBooks } from './support.js';

const books = useBooks();
const keyed = (jobId: string, keyHash: string, tenantId = 'acme'): Fact =>
  accepted({ jobId, tenantId, idempotency: { keyHash, fingerprint: `of ${keyHash}` } });
const recent = (sinceMs: number, limit = 100) => books.store.recentKeys({ tenantId: 'acme', sinceMs, limit });
const hashes = ({ keys }: Awaited<ReturnType<typeof recent>>) => keys.map(({ keyHash }) => keyHash);

describe('recentKeys', () => {
  it("lists the keys of a tenant's jobs, newest first, open or ended", async () => {
    const now = Date.now();
    const [older, newer] = [jobIdAt(now - 5), jobIdAt(now)];
    expect(await recent(now - 10)).toEqual({ keys: [], sinceMs: now - 10 });
    await books.store.recordFacts([
      ...[keyed(older, 'a"b\\,{}'), completed({ jobId: older }), keyed(newer, 'κ')],
      ...[
        accepted({ jobId: jobIdAt(now) }),
        keyed(jobIdAt(now), 'foreign', 'other'),
        keyed(jobIdAt(now - 11), 'before'),
      ],
    ]);
    expect(await recent(now - 10)).toEqual({
      keys: [
        { keyHash: 'κ', fingerprint: 'of κ', jobId: newer, acceptedAtMs: now },
        { keyHash: 'a"b\\,{}', fingerprint: 'of a"b\\,{}', jobId: older, acceptedAtMs: now - 5 },
      ],
      sinceMs: now - 10,
    });
    expect(hashes(await recent(now - 5))).toEqual(['κ', 'a"b\\,{}']);
    expect(hashes(await recent(now - 4))).toEqual(['κ']);
    expect(hashes(await recent(0))).toEqual(['κ', 'a"b\\,{}', 'before']);
  });

  it('says since when the keys are all, when there are more than were asked for', async () => {
    const now = Date.now();
    await books.store.recordFacts([1, 2, 3, 4].map((ago) => keyed(jobIdAt(now - ago), `key-${ago}`)));
    expect(await recent(now - 10, 4)).toMatchObject({ sinceMs: now - 3 });
    expect(hashes(await recent(now - 10, 4))).toHaveLength(4);
    const two = await recent(now - 10, 2);
    expect([hashes(two), two.sinceMs]).toEqual([['key-1', 'key-2'], now - 1]);
    expect(await recent(now - 10, 5)).toMatchObject({ sinceMs: now - 10 });
  });

  it('looks at a bounded number of jobs without keys', async () => {
    const now = Date.now();
    const without = [1, 2, 3, 4].map((ago) => accepted({ jobId: jobIdAt(now - ago) }));
    await books.store.recordFacts([...without, keyed(jobIdAt(now - 5), 'far')]);
    expect(await recent(now - 10, 1)).toEqual({ keys: [], sinceMs: now - 3 });
    expect(hashes(await recent(now - 10, 2))).toEqual(['far']);
  });

  it('walks an index from the newest job on, over months', async () => {
    const now = Date.now();
    const monthAgo = now - 32 * 86_400_000;
    await books.store.recordFacts([keyed(jobIdAt(now), 'now'), keyed(jobIdAt(monthAgo), 'then')]);
    expect(hashes(await recent(monthAgo))).toEqual(['now', 'then']);
    await books.query(
      'SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off',
    );
    await books.query(`PREPARE recent (text, bigint, uuid, int) AS ${loadStatement('recent-keys').text}`);
    const plan = await books.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (COSTS OFF) EXECUTE recent ('acme', ${now}, '${jobIdAt(now)}', 10)`,
    );
    const scans = plan.map((line) => line['QUERY PLAN']).filter((line) => /Scan .* on jobs/.test(line));
    expect(scans.length).toBeGreaterThan(0);
    for (const scan of scans) expect(scan).toMatch(/Index Scan Backward using \w+_tenant_id_job_id_idx/);
  });
});
