import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** What one view `v_recon_…` found. */
export interface Reconciliation {
  readonly view: string;
  /** What its rows mean. */
  readonly description: string;
  /** 0 when healthy. */
  readonly rows: number;
  /** The first 20 of them, by column name. */
  readonly first: readonly Readonly<Record<string, unknown>>[];
}

export interface Reconciler {
  /**
   * Runs every view `v_recon_…` of the database, those of later migrations too, by name. Some read all jobs or the whole
   * ledger: each may take up to ten minutes.
   */
  reconcile(): Promise<readonly Reconciliation[]>;
}

const FIRST_ROWS = 20;
const STATEMENT_TIMEOUT_MS = 600_000;

const statements = { list: loadStatement('list-reconciliations'), run: loadStatement('run-reconciliation') };

interface Outcome {
  readonly row_count: bigint;
  readonly sample: readonly Record<string, unknown>[];
}

export function createReconciler(database: Database): Reconciler {
  async function runView({ name, description }: { name: string; description: string }): Promise<Reconciliation> {
    // A session for each: none holds back the clean-up of dead rows longer than it must.
    return database.session({ statementTimeoutMs: STATEMENT_TIMEOUT_MS }, async (run) => {
      const [outcome] = await run<Outcome & Record<string, unknown>>(statements.run, [name, FIRST_ROWS]);
      return { view: name, description, rows: Number(outcome?.row_count ?? 0), first: outcome?.sample ?? [] };
    });
  }

  return {
    async reconcile() {
      const views = await database.run<{ name: string; description: string }>(statements.list);
      const found: Reconciliation[] = [];
      for (const view of views) found.push(await runView(view));
      return found;
    },
  };
}
