import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { Percentiles } from '../harness/statistics.js';
import { sourceFile } from '../source-file.js';

export interface Billed {
  /** From the acceptance time in the job's id to the commit of its entry. */
  readonly billedMs: Percentiles;
  /** When the last entry was committed (Unix ms). */
  readonly lastMs: number;
}

/** The jobs of a round. */
export interface Expected {
  readonly sinceMs: number;
  readonly count: number;
  readonly timeLimitMs: number;
  /** Ends the wait early, with an error. */
  readonly signal: AbortSignal;
}

/** Reads one side's ledger, through a view `billed` that both sides have. */
export interface Books {
  /** Waits until `count` jobs accepted since `sinceMs` are billed; fails when more are, or after `timeLimitMs`. */
  drained(expected: Expected): Promise<Billed>;
  close(): Promise<void>;
}

const POLL_MS = 50;

/** Creates the view and opens the books. */
export async function openBooks(
  postgresUrl: string,
  view: 'sql/floor-billed.sql' | 'sql/sluice-billed.sql',
): Promise<Books> {
  const client = new Client({ connectionString: postgresUrl });
  await client.connect();
  await client.query(await sourceFile(view));
  const count = await sourceFile('sql/count-billed.sql');
  const latency = await sourceFile('sql/billed-latency.sql');

  async function countBilled(sinceMs: number): Promise<number> {
    const { rows } = await client.query<{ billed: number }>(count, [sinceMs]);
    return rows[0]?.billed ?? 0;
  }

  return {
    async drained({ sinceMs, count: wanted, timeLimitMs, signal }) {
      const deadline = performance.now() + timeLimitMs;
      let billed = await countBilled(sinceMs);
      while (billed < wanted) {
        if (performance.now() > deadline)
          throw new Error(`${billed} of ${wanted} jobs were billed in ${timeLimitMs} ms`);
        await sleep(POLL_MS, undefined, { signal });
        billed = await countBilled(sinceMs);
      }
      if (billed > wanted) throw new Error(`${billed} jobs were billed, ${wanted} were accepted`);
      const { rows } = await client.query<Percentiles & { last_ms: number }>(latency, [sinceMs]);
      if (!rows[0]) throw new Error('the ledger did not answer');
      const { last_ms: lastMs, ...billedMs } = rows[0];
      return { billedMs, lastMs };
    },
    close: () => client.end(),
  };
}

/**
 * Makes PostgreSQL remember when each transaction was committed, which takes a restart. Resolves with false where the
 * server is not ours to restart; latencies then end at the start of the recording transaction.
 */
export async function trackCommitTimes(server: {
  readonly source: string;
  readonly url: string;
  kill(): Promise<void>;
  restart(): Promise<void>;
}): Promise<boolean> {
  if (server.source !== 'binaries') return false;
  const client = new Client({ connectionString: server.url });
  await client.connect();
  await client.query('ALTER SYSTEM SET track_commit_timestamp = on');
  await client.end();
  await server.kill();
  await server.restart();
  return true;
}
