import { mustCall, type Tenant } from '../src/client.js';
import { monthlyLimit, type QuotaAnswer } from '../src/position.js';
import { checkViews } from '../src/reconciliation.js';
import type { Isolated } from './isolated-suite.js';

/** What an outsider can see of a tenant's books: the ledger by job, the quota, the reconciliation views. */
export interface BooksOf {
  /** Jobs with their number of reserve and terminal entries and the tokens billed. */
  readonly ledger: ReadonlyMap<string, { reserves: number; terminals: number; tokens: number }>;
  readonly used: number;
  readonly held: number;
  /** Names of reconciliation views that have rows. */
  readonly alarms: readonly string[];
}

export async function booksOf(isolated: Isolated, url: string, tenant: Tenant): Promise<BooksOf> {
  const { rows } = await isolated.database.query<{
    jobId: string;
    reserves: number;
    terminals: number;
    tokens: number;
  }>(
    `SELECT job_id::text AS "jobId", count(*) FILTER (WHERE phase = 1)::int AS reserves,
            count(*) FILTER (WHERE phase = 2)::int AS terminals,
            coalesce(sum(input_tokens + output_tokens) FILTER (WHERE phase = 2), 0)::int AS tokens
     FROM ledger WHERE tenant_id = $1 GROUP BY job_id`,
    [tenant.tenantId],
  );
  const quota = await mustCall<QuotaAnswer>(url, '/v1/quota', { key: tenant.key });
  const monthly = monthlyLimit(quota);
  const views = await checkViews(isolated.environment['SLUICE_POSTGRES_URL'] ?? '');
  return {
    ledger: new Map(rows.map(({ jobId, ...counts }) => [jobId, counts])),
    used: monthly?.used ?? -1,
    held: monthly?.held ?? -1,
    alarms: views.filter(({ rows }) => rows > 0).map(({ view }) => view),
  };
}
