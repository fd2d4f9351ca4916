import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** How well holds met the use of a model's succeeded jobs; jobs whose hold is not known are left out. */
export interface EstimateError {
  readonly model: string;
  readonly jobs: number;
  readonly reservedTokens: number;
  readonly usedTokens: number;
  /** What jobs used beyond their holds, and how many did. */
  readonly overageTokens: number;
  readonly overageJobs: number;
  /** The unused part of a job's hold relative to its use, mean of the jobs: 0 is exact, 1 held twice what was used. */
  readonly meanOverEstimate: number;
}

export interface EstimateReports {
  /** By model, for jobs accepted within [fromMs, toMs), Unix milliseconds. Reads the ledger of that time. */
  estimateErrors(range: { readonly fromMs: number; readonly toMs: number }): Promise<readonly EstimateError[]>;
}

const estimateErrorsStatement = loadStatement('estimate-errors');

interface EstimateRow {
  readonly model: string;
  readonly jobs: bigint;
  readonly reserved_tokens: bigint;
  readonly used_tokens: bigint;
  readonly overage_tokens: bigint;
  readonly overage_jobs: bigint;
  readonly mean_over_estimate: number;
}

export function createEstimateReports(database: Database): EstimateReports {
  return {
    async estimateErrors({ fromMs, toMs }) {
      const values = [fromMs, toMs];
      const rows = await database.run<EstimateRow & Record<string, unknown>>(estimateErrorsStatement, values);
      return rows.map((row) => ({
        model: row.model,
        jobs: Number(row.jobs),
        reservedTokens: Number(row.reserved_tokens),
        usedTokens: Number(row.used_tokens),
        overageTokens: Number(row.overage_tokens),
        overageJobs: Number(row.overage_jobs),
        meanOverEstimate: row.mean_over_estimate,
      }));
    },
  };
}
