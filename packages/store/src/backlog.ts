import type { JobClass } from '@sluice/contracts';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** Accepted jobs of a model and class that have not ended. */
export interface ModelBacklog {
  readonly model: string;
  readonly class: JobClass;
  readonly jobs: number;
  /** The exact tokens of their inputs; what they may yet give out is not in it. */
  readonly inputTokens: number;
}

export interface Backlogs {
  /**
   * By model and class, in this order; those that have none are left out. Exact as of one moment, whatever order facts
   * were recorded in. Costs the same however many jobs there are.
   */
  backlog(): Promise<readonly ModelBacklog[]>;
  /**
   * Compares the backlog with the open jobs, corrects it and returns how many models and classes were wrong: 0, except after
   * an upgrade during which collectors of a version before the backlog have recorded. Reads all jobs that may be open.
   */
  correctBacklog(): Promise<number>;
}

const STATEMENT_TIMEOUT_MS = 600_000;

const statements = { read: loadStatement('backlog'), correct: loadStatement('correct-backlog') };

interface BacklogRow {
  readonly model: string;
  readonly class: JobClass;
  readonly jobs: bigint;
  readonly input_tokens: bigint;
}

export function createBacklogs(database: Database): Backlogs {
  return {
    async backlog() {
      const rows = await database.run<BacklogRow & Record<string, unknown>>(statements.read);
      return rows.map(({ model, class: jobClass, jobs, input_tokens }) => {
        return { model, class: jobClass, jobs: Number(jobs), inputTokens: Number(input_tokens) };
      });
    },
    correctBacklog: () =>
      database.session({ statementTimeoutMs: STATEMENT_TIMEOUT_MS }, async (run) => {
        const [row] = await run<{ corrected: number }>(statements.correct);
        return row?.corrected ?? 0;
      }),
  };
}
