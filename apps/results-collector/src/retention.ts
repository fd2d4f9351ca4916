import type { Logger } from '@sluice/runtime';
import { PartitionError, type Partition, type PartitionedTable, type Store } from '@sluice/store';
import { exportFile } from './export.js';
import { readFinishedExport } from './finished-export.js';

/** Dead letters deleted in one statement. */
const LETTERS = 1_000;

/** How long things are kept, in milliseconds since the job was accepted or the letter recorded; undefined: for ever. */
export interface RetentionPolicy {
  readonly resultsMs: number | undefined;
  readonly jobsMs: number | undefined;
  readonly ledgerMs: number | undefined;
  readonly deadLettersMs: number | undefined;
}

export interface RetentionOptions {
  readonly store: Pick<Store, 'listPartitions' | 'exportPartition' | 'dropPartition' | 'deleteDeadLetters'>;
  readonly policy: RetentionPolicy;
  /** Where each month is exported to before it is dropped; nothing is exported when undefined. */
  readonly exportDirectory: string | undefined;
  /** Hears how many rows of a table were dropped. */
  readonly onDropped: (table: string, rows: number) => void;
  /** Unix milliseconds, by the slowest of the servers' clocks: what is dropped because one is set wrong does not come back. */
  readonly nowMs: () => Promise<number>;
  readonly logger: Logger;
}

/**
 * Drops what is older than it needs to be, whole months at a time: a month goes when its last moment is old enough.
 * This month and the one before are always kept. Jobs go before the ledger that tells how they ended, or they would look
 * open. Several collectors may do so at once: they write the same files, and one of them drops. A month that cannot be dropped
 * now, because it is read or written or has open jobs, is tried again in the next round, and the others are gone on with.
 */
export function createRetention(options: RetentionOptions): { run(signal: AbortSignal): Promise<void> } {
  const { store, policy, exportDirectory, onDropped, nowMs, logger } = options;

  /** Exports the partition and drops it, unless an earlier round exported it and could not drop it. */
  async function dropExported(name: string, directory: string): Promise<number> {
    const file = `${name}.ndjson`;
    const finished = await readFinishedExport(directory, file);
    if (finished) {
      try {
        // Rows are never changed: those that are there are those of the file when there are as many.
        return await store.dropPartition(name, { expectedRows: finished.rows, sha256: finished.sha256 });
      } catch (error) {
        if (!(error instanceof PartitionError && error.reason === 'row_count')) throw error;
      }
    }
    const { rows, sha256 } = await exportFile(directory, file, (writable) => store.exportPartition(name, writable));
    return store.dropPartition(name, { expectedRows: rows, sha256 });
  }

  async function drop({ name, parent }: Partition): Promise<void> {
    try {
      const rows = await (exportDirectory === undefined
        ? store.dropPartition(name, {})
        : dropExported(name, exportDirectory));
      onDropped(parent, rows);
      logger.info({ partition: name, rows, exportDirectory }, 'dropped a month whose time is over');
    } catch (error) {
      if (!(error instanceof PartitionError)) throw error;
      logger.warn({ err: error, partition: name }, 'a month whose time is over stays for now');
    }
  }

  async function dropOld(table: PartitionedTable, keepMs: number | undefined, signal: AbortSignal): Promise<void> {
    if (keepMs === undefined) return;
    const now = await nowMs();
    const beforeMs = Math.min(now - keepMs, monthBeforeMs(now));
    for (const partition of await store.listPartitions(table)) {
      if (partition.toMs === undefined || partition.toMs > beforeMs || signal.aborted) continue;
      await drop(partition);
    }
  }

  async function deleteLetters(keepMs: number | undefined, signal: AbortSignal): Promise<void> {
    if (keepMs === undefined) return;
    const beforeMs = (await nowMs()) - keepMs;
    let deleted: number;
    let open = 0;
    do {
      const removed = await store.deleteDeadLetters({ beforeMs, limit: LETTERS });
      deleted = removed.deleted;
      open += removed.open;
      onDropped('dead_letters', deleted);
    } while (deleted === LETTERS && !signal.aborted);
    if (open > 0) logger.warn({ open }, 'deleted dead letters that nobody had replayed');
  }

  return {
    async run(signal) {
      await dropOld('job_results', policy.resultsMs, signal);
      await dropOld('jobs', policy.jobsMs, signal);
      await dropOld('ledger', policy.ledgerMs, signal);
      await deleteLetters(policy.deadLettersMs, signal);
    },
  };
}

/** When the month before this one began, in UTC. */
function monthBeforeMs(now: number): number {
  const today = new Date(now);
  return Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - 1, 1);
}
