import type { JobClass } from '@sluice/contracts';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** An open job that is past its deadline: enough to write its terminal fact. */
export interface ExpiredHold {
  readonly jobId: string;
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly class: JobClass;
}

export interface Holds {
  /**
   * Open jobs whose deadline passed more than two minutes before `nowMs`, earliest first: Unix milliseconds by the clock
   * that deadlines are told by, the database's when absent. Each call costs about what has expired since the last one.
   * n.b. a `nowMs` that is more than ten minutes ahead of the database's clock counts as ten.
   */
  expiredOpenHolds(limit: number, nowMs?: number): Promise<readonly ExpiredHold[]>;
}

/** Jobs looked at in one statement of the sweep, so that it stays short however far behind it is. */
const SWEEP_BATCH = 20_000;
/** Most statements in one call; the next call goes on from there. */
const MAX_SWEEP_BATCHES = 100;

const statements = {
  advanceSweep: loadStatement('advance-sweep'),
  expiredOpenHolds: loadStatement('expired-open-holds'),
};

interface ExpiredHoldRow {
  readonly job_id: string;
  readonly tenant_id: string;
  readonly api_key_id: string;
  readonly model: string;
  readonly class: JobClass;
}

export function createHolds(database: Database): Holds {
  async function advanceSweep(): Promise<void> {
    for (let batch = 0; batch < MAX_SWEEP_BATCHES; batch++) {
      const [row] = await database.run<{ examined: number }>(statements.advanceSweep, [SWEEP_BATCH]);
      if (row === undefined || row.examined < SWEEP_BATCH) return;
    }
  }

  return {
    async expiredOpenHolds(limit, nowMs) {
      await advanceSweep();
      const values = [limit, nowMs ?? null];
      const rows = await database.run<ExpiredHoldRow & Record<string, unknown>>(statements.expiredOpenHolds, values);
      return rows.map((row) => ({
        jobId: row.job_id,
        tenantId: row.tenant_id,
        apiKeyId: row.api_key_id,
        model: row.model,
        class: row.class,
      }));
    },
  };
}
