import type { Reconciliation } from '@sluice/store';
import type pg from 'pg';
import type { DemoRun } from './demo-run.js';
import { heldTokens, monthlyLimit, type Position } from './position.js';

export interface LedgerRow {
  readonly jobId: string;
  readonly entry: string;
  readonly model: string;
  readonly tokens: number;
  readonly amountNanoUsd: string;
}

export interface DailyRow {
  readonly day: string;
  readonly model: string;
  readonly jobs: string;
  readonly inputTokens: string;
  readonly amountUsd: string;
}

export interface Books {
  /** The newest entries of the run. */
  readonly ledger: readonly LedgerRow[];
  readonly daily: readonly DailyRow[];
  /** What was checked and found right, a sentence each. */
  readonly checks: readonly string[];
  /** What is wrong; empty when the books are right. */
  readonly problems: readonly string[];
}

/** What the tenant had used and held before and after the run, and what the database finds wrong with itself. */
export interface Surroundings {
  readonly before: Position;
  readonly after: Position;
  readonly views: readonly Pick<Reconciliation, 'view' | 'rows'>[];
}

const SHOWN_ENTRIES = 6;

/**
 * Checks a run as an outsider would, from HTTP answers and PostgreSQL alone: every accepted job has one reserve and one
 * terminal entry, the ledger says what HTTP said, the tenant's quota moved as its ledger did, and no reconciliation view
 * has a row. Other jobs of the tenant may have run meanwhile.
 */
export async function checkBooks(
  client: pg.Client,
  tenantId: string,
  run: DemoRun,
  surroundings: Surroundings,
): Promise<Books> {
  const jobIds = run.results.map(({ job }) => job.id);
  const used = run.results.reduce(
    (sum, { job }) => sum + (job.usage?.inputTokens ?? 0) + (job.usage?.outputTokens ?? 0),
    0,
  );
  const entries = await countEntries(client, jobIds);
  const { views } = surroundings;
  const moved = movement(surroundings);
  const notSucceeded = run.results.filter(({ job }) => job.state !== 'succeeded').length;

  const verdicts: readonly (readonly [boolean, string, string])[] = [
    [notSucceeded === 0, `all ${jobIds.length} jobs succeeded`, `${notSucceeded} jobs did not succeed`],
    [
      entries.reserved === jobIds.length && entries.terminal === jobIds.length,
      `each of them has one reserve and one terminal entry in the ledger`,
      `${jobIds.length} jobs have ${entries.reserved} reserve and ${entries.terminal} terminal entries`,
    ],
    [
      entries.tokens === used,
      `the ledger bills the ${used} tokens that HTTP reported`,
      `the ledger bills ${entries.tokens} tokens, HTTP reported ${used}`,
    ],
    [
      moved.quota === moved.ledger,
      `the monthly quota moved by ${moved.quota}, exactly as the tenant's ledger did`,
      `the monthly quota moved by ${moved.quota}, the tenant's ledger by ${moved.ledger}`,
    ],
    [
      moved.held <= moved.heldBefore,
      moved.held === 0
        ? 'nothing is held any more'
        : `nothing more is held than before, ${moved.held} tokens since an earlier start`,
      `${moved.held} tokens are still held, before it were ${moved.heldBefore}`,
    ],
    [
      views.every(({ rows }) => rows === 0),
      `${views.length} reconciliation views are empty`,
      views
        .filter(({ rows }) => rows > 0)
        .map(({ view, rows }) => `${view} has ${rows} rows`)
        .join(', '),
    ],
  ];
  return {
    ledger: await newestEntries(client, jobIds),
    daily: await dailyReport(client, tenantId),
    checks: verdicts.filter(([right]) => right).map(([, text]) => text),
    problems: verdicts.filter(([right]) => !right).map(([, , text]) => text),
  };
}

function movement({ before, after }: Surroundings) {
  return {
    quota: (monthlyLimit(after.quota)?.used ?? 0) - (monthlyLimit(before.quota)?.used ?? 0),
    ledger: after.ledgerTokens - before.ledgerTokens,
    held: heldTokens(after.quota),
    heldBefore: heldTokens(before.quota),
  };
}

/** Tokens the tenant was ever billed for. */
export async function billedTokens(client: pg.Client, tenantId: string): Promise<number> {
  const { rows } = await client.query<{ tokens: string }>(
    `SELECT coalesce(sum(input_tokens + output_tokens), 0)::text AS tokens
     FROM ledger WHERE tenant_id = $1 AND phase = 2`,
    [tenantId],
  );
  return Number(rows[0]?.tokens ?? 0);
}

async function countEntries(client: pg.Client, jobIds: readonly string[]) {
  const { rows } = await client.query<{ reserved: number; terminal: number; tokens: number }>(
    `SELECT count(*) FILTER (WHERE phase = 1)::int AS reserved,
            count(*) FILTER (WHERE phase = 2)::int AS terminal,
            coalesce(sum(input_tokens + output_tokens) FILTER (WHERE phase = 2), 0)::int AS tokens
     FROM ledger WHERE job_id = ANY($1::uuid[])`,
    [jobIds],
  );
  return rows[0] ?? { reserved: 0, terminal: 0, tokens: 0 };
}

async function newestEntries(client: pg.Client, jobIds: readonly string[]): Promise<readonly LedgerRow[]> {
  const { rows } = await client.query<LedgerRow>(
    `SELECT job_id::text AS "jobId", coalesce(state::text, 'reserved') AS entry, model,
            input_tokens + output_tokens AS tokens, amount_nano_usd::text AS "amountNanoUsd"
     FROM ledger WHERE job_id = ANY($1::uuid[]) ORDER BY job_id DESC, phase DESC LIMIT $2`,
    [jobIds, SHOWN_ENTRIES],
  );
  return rows;
}

async function dailyReport(client: pg.Client, tenantId: string): Promise<readonly DailyRow[]> {
  const { rows } = await client.query<DailyRow>(
    `SELECT day::text, model, sum(jobs)::text AS jobs, sum(input_tokens)::text AS "inputTokens",
            round(sum(amount_nano_usd) / 1e9, 9)::text AS "amountUsd"
     FROM v_usage_daily WHERE tenant_id = $1 GROUP BY day, model ORDER BY day DESC, model LIMIT 10`,
    [tenantId],
  );
  return rows;
}
