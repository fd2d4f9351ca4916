import { createHash } from 'node:crypto';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Database } from './database.js';
import { sqlState } from './postgres-errors.js';
import type { SessionQuery } from './session.js';
import { loadStatement } from './statements.js';

export const PARTITIONED_TABLES = ['jobs', 'ledger', 'job_results'] as const;
export type PartitionedTable = (typeof PARTITIONED_TABLES)[number];

export interface Partition {
  readonly name: string;
  readonly parent: PartitionedTable;
  /** Its UTC month by job time, Unix milliseconds, inclusive and exclusive; undefined for the default partition. */
  readonly fromMs: number | undefined;
  readonly toMs: number | undefined;
  /** The planner's estimate; 0 until it was analysed. */
  readonly estimatedRows: number;
  /** With indexes and large values. */
  readonly bytes: number;
}

export interface PartitionExport {
  readonly rows: number;
  readonly bytes: number;
  /** Of the bytes that were written, hex. */
  readonly sha256: string;
}

/** The partition cannot be exported or must not be dropped; nothing was changed. The message says why. */
export class PartitionError extends Error {
  override readonly name = 'PartitionError';

  /**
   * @param reason `busy`: somebody reads or writes it all the time, try again later; `row_count`: it has not the rows that were
   * expected; `kept`: all other reasons.
   */
  constructor(
    message: string,
    readonly reason: 'busy' | 'row_count' | 'kept',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export interface Partitions {
  /** Oldest first, the default partition last. */
  listPartitions(parent: PartitionedTable): Promise<readonly Partition[]>;
  /**
   * Writes all rows as lines of JSON (NDJSON, UTF-8), with the columns' names and times in UTC, in the order of their key:
   * the same rows give the same bytes. Amounts are JSON numbers without loss, larger than a double holds if need be.
   * `writable` is left open, and destroyed when the export fails.
   *
   * @throws PartitionError when there is no such partition; what `writable` fails with.
   */
  exportPartition(name: string, writable: Writable): Promise<PartitionExport>;
  /**
   * Drops a month with all its rows, notes it in `dropped_partitions` and returns how many rows it had. `expectedRows` and
   * `sha256` are those of the export; without them it has the rows that it has.
   *
   * Nobody can read the table for the moment in which a month is taken out of it. So the lock is waited for 200 ms at
   * a time, five times within about four seconds, and then the partition is `busy`.
   *
   * @throws PartitionError for a partition that does not exist (any more), has another number of rows, has jobs that have
   * not ended, is the default one, or is not older than the month before this one (UTC); for a month of the ledger
   * whose jobs are still there; and for one that is busy.
   */
  dropPartition(
    name: string,
    options: { readonly expectedRows?: number | undefined; readonly sha256?: string | undefined },
  ): Promise<number>;
}

const BLOCK_BYTES = 1 << 20;
/** A partition is counted before it is dropped; also the limit of each block of an export. */
const STATEMENT_TIMEOUT_MS = 1_800_000;
/** What the functions of the database refuse with. */
const RESTRICT_VIOLATION = '23001';
const REASONS = ['busy', 'row_count', 'kept'] as const;

const statements = {
  list: loadStatement('list-partitions'),
  openExport: loadStatement('open-partition-export'),
  fetchExport: loadStatement('fetch-partition-export'),
  drop: loadStatement('drop-partition'),
};

interface PartitionRow {
  readonly name: string;
  readonly parent: PartitionedTable;
  readonly from_ms: string | null;
  readonly to_ms: string | null;
  readonly estimated_rows: bigint;
  readonly bytes: bigint;
}

export function createPartitions(database: Database): Partitions {
  function session<T>(work: (run: SessionQuery) => Promise<T>): Promise<T> {
    return database.session({ statementTimeoutMs: STATEMENT_TIMEOUT_MS }, work).catch(explain);
  }

  return {
    async listPartitions(parent) {
      const rows = await database.run<PartitionRow & Record<string, unknown>>(statements.list, [parent]);
      return rows.map(toPartition);
    },

    exportPartition: (name, writable) =>
      session(async (run) => {
        await run(statements.openExport, [name]);
        const hash = createHash('sha256');
        let rows = 0;
        let bytes = 0;
        async function* blocks() {
          for await (const { row_count, lines } of fetchBlocks(run)) {
            const block = Buffer.from(lines);
            rows += row_count;
            bytes += block.length;
            hash.update(block);
            yield block;
          }
        }
        await pipeline(Readable.from(blocks()), writable, { end: false });
        return { rows, bytes, sha256: hash.digest('hex') };
      }),

    dropPartition: (name, { expectedRows, sha256 }) =>
      session(async (run) => {
        const [row] = await run<{ rows: bigint }>(statements.drop, [name, expectedRows ?? null, sha256 ?? null]);
        return Number(row?.rows ?? 0);
      }),
  };
}

async function* fetchBlocks(run: SessionQuery) {
  for (;;) {
    const [block] = await run<{ row_count: number; lines: string }>(statements.fetchExport, [BLOCK_BYTES]);
    if (block === undefined || block.row_count === 0) return;
    yield block;
  }
}

function explain(error: unknown): never {
  if (sqlState(error) !== RESTRICT_VIOLATION) throw error;
  const { message, detail } = error as Error & { readonly detail?: string };
  throw new PartitionError(message, REASONS.find((reason) => reason === detail) ?? 'kept', { cause: error });
}

function toPartition(row: PartitionRow): Partition {
  return {
    name: row.name,
    parent: row.parent,
    fromMs: row.from_ms === null ? undefined : Number(row.from_ms),
    toMs: row.to_ms === null ? undefined : Number(row.to_ms),
    estimatedRows: Number(row.estimated_rows),
    bytes: Number(row.bytes),
  };
}
