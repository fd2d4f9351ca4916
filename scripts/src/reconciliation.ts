import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createLogger } from '@sluice/runtime';
import { createStore, type Reconciliation } from '@sluice/store';
import { z } from 'zod';
import type { Output } from './console-output.js';

const STATEMENT_TIMEOUT_MS = 60_000;
const MAX_REPORT_BYTES = 64 * 1024 * 1024;
const SHOWN_JOBS = 5;

const reportSchema = z.object({
  loaded: z.number(),
  drifts: z.array(
    z.object({
      tenantId: z.string(),
      limits: z.array(z.object({ scope: z.string(), subject: z.string(), limit: z.string(), distance: z.number() })),
      missing: z.array(z.string()),
      leaked: z.array(z.string()),
    }),
  ),
  unreadable: z.array(z.string()),
});
type Report = z.infer<typeof reportSchema>;

export interface ReconcileOptions {
  /** `SLUICE_POSTGRES_URL`, `SLUICE_REDIS_URL`, and `SLUICE_KEY_PREFIX` where it is not the default. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly output: Output;
}

/**
 * Prints every check of the books with what it found, and the tenants whose limits in Redis are not what the books say.
 * True when nothing was found.
 */
export async function reconcile({ environment, output }: ReconcileOptions): Promise<boolean> {
  const views = await checkViews(environment['SLUICE_POSTGRES_URL'] ?? '');
  output.heading('The books (PostgreSQL); no rows are right');
  output.table(
    ['check', 'rows', 'finds'],
    views.map(({ view, rows, description }) => [view, rows, description]),
  );
  for (const view of views.filter(({ rows }) => rows > 0)) printRows(output, view);

  const { loaded, drifts, unreadable } = await compareRedis(environment);
  output.heading('Limits in Redis beside the books');
  if (drifts.length === 0) output.step(`${loaded} loaded tenants, none differs`);
  else printDrifts(output, drifts);
  for (const tenantId of unreadable) output.problem(`the keys of tenant ${tenantId} cannot be read`);
  return drifts.length + unreadable.length === 0 && views.every(({ rows }) => rows === 0);
}

/** Every check that the database at `url` has of itself, with what it found. */
export async function checkViews(url: string): Promise<readonly Reconciliation[]> {
  const logger = createLogger({ app: 'reconcile', level: 'silent' });
  const store = createStore({
    ...{ url, applicationName: 'reconcile', poolSize: 1, statementTimeoutMs: STATEMENT_TIMEOUT_MS, logger },
  });
  try {
    await store.start();
    return await store.reconcile();
  } finally {
    await store.stop();
  }
}

/** The collector knows how to compare; it is asked as a program of its own. */
async function compareRedis(environment: ReconcileOptions['environment']): Promise<Report> {
  const program = fileURLToPath(import.meta.resolve('@sluice/results-collector/dist/reconcile/main.js'));
  const { stdout } = await promisify(execFile)(process.execPath, [program], {
    env: { ...process.env, ...environment },
    maxBuffer: MAX_REPORT_BYTES,
  });
  return reportSchema.parse(JSON.parse(stdout));
}

function printRows(output: Output, { view, rows, first }: Reconciliation): void {
  const columns = Object.keys(first[0] ?? {});
  output.heading(first.length < rows ? `${view}: the first ${first.length} of ${rows} rows` : view);
  output.table(
    columns,
    first.map((row) => columns.map((column) => textOf(row[column]))),
  );
}

function printDrifts(output: Output, drifts: Report['drifts']): void {
  output.table(
    ['tenant', 'scope', 'subject', 'limit', 'Redis minus books'],
    drifts.flatMap(({ tenantId, limits }) =>
      limits.map(({ scope, subject, limit, distance }) => [tenantId, scope, subject, limit, distance]),
    ),
  );
  output.table(
    ['tenant', 'holds', 'jobs', 'some of them'],
    drifts.flatMap(({ tenantId, missing, leaked }) =>
      Object.entries({ missing, leaked })
        .filter(([, jobs]) => jobs.length > 0)
        .map(([kind, jobs]) => [tenantId, kind, jobs.length, jobs.slice(0, SHOWN_JOBS).join(' ')]),
    ),
  );
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
