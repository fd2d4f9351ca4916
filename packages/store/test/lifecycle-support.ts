import { type Plan, planSchema } from '@sluice/contracts';
import { syncPlans } from '../src/index.js';
import { type Books, KEY_ID, logger } from './support.js';

export const QUARTER_MS = 900_000;

/** Puts plans in force from now on, as an operator writes them. */
export async function putPlans(books: Books, plans: Readonly<Record<string, unknown>>): Promise<void> {
  const parsed = Object.entries(plans).map(([name, plan]): [string, Plan] => [name, planSchema.parse(plan)]);
  await syncPlans({ url: books.url, plans: Object.fromEntries(parsed), logger });
}

export interface Use {
  readonly tenantId?: string;
  /** Within the bucket, Unix milliseconds; now when absent. */
  readonly atMs?: number;
  readonly model?: string;
  readonly apiKeyId?: string;
  readonly tokens?: number;
  readonly overageTokens?: number;
  readonly nanoUsd?: number;
  readonly overageNanoUsd?: number;
}

/** Adds use to the roll-up alone, as if facts had brought it. */
export async function addUse(books: Books, use: Use): Promise<void> {
  const { tenantId = 'acme', atMs = Date.now(), model = 'embedder', apiKeyId = KEY_ID, tokens = 0 } = use;
  await books.query(
    `INSERT INTO usage_15m AS u (tenant_id, bucket, model, api_key_id, jobs, failed_jobs, input_tokens, output_tokens,
       cached_tokens, amount_nano_usd, overage_tokens, overage_nano_usd)
     VALUES ($1, usage_bucket(to_timestamp($2::float8 / 1000)), $3, $4, 1, 0, $5, 0, 0, $6, $7, $8)
     ON CONFLICT (tenant_id, bucket, model, api_key_id) DO UPDATE SET
       jobs = u.jobs + 1,
       input_tokens = u.input_tokens + excluded.input_tokens,
       amount_nano_usd = u.amount_nano_usd + excluded.amount_nano_usd,
       overage_tokens = u.overage_tokens + excluded.overage_tokens,
       overage_nano_usd = u.overage_nano_usd + excluded.overage_nano_usd`,
    [tenantId, atMs, model, apiKeyId, tokens, use.nanoUsd ?? 0, use.overageTokens ?? 0, use.overageNanoUsd ?? 0],
  );
}

/** Pretends that all versions of tenants and plans began in 2020. */
export async function ageHistory(books: Books): Promise<void> {
  for (const table of ['tenant_versions', 'plan_versions']) {
    await books.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`);
    await books.query(
      `UPDATE ${table} AS v SET valid = tstzrange('2020-01-01Z', upper(valid))
       WHERE NOT EXISTS (SELECT FROM ${table} o WHERE ${table === 'plan_versions' ? 'o.plan = v.plan' : 'o.tenant_id = v.tenant_id'}
         AND lower(o.valid) < lower(v.valid))`,
    );
    await books.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`);
  }
}
