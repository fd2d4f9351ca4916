import { ServiceError } from '@sluice/contracts';
import { withDeadline } from '@sluice/runtime';
import type { ModelBacklog, Store } from '@sluice/store';
import type { Catalogue } from './catalogue.js';

/** Accepted jobs of a model and class that have not ended, and who is to run them. */
export interface PoolBacklog extends ModelBacklog {
  /** Empty for a model that is not configured any more. */
  readonly pool: string;
}

/** What all gateways together accepted and what has not ended, as PostgreSQL knows it: the same at every gateway. */
export interface Backlog {
  /**
   * By model and class; those that have nothing are left out. Read at most once a second, whoever asks.
   *
   * @throws ServiceError `store_unavailable` when PostgreSQL does not answer within a second.
   */
  read(): Promise<readonly PoolBacklog[]>;
  /**
   * What a pool has to do, in jobs and in tokens of their inputs.
   *
   * @throws ServiceError `not_found` for a pool that is not configured, and as `read` does: what is not known is never 0.
   */
  ofPool(pool: string): Promise<{ readonly pool: string; readonly jobs: number; readonly tokens: number }>;
}

export interface BacklogOptions {
  readonly store: Pick<Store, 'backlog'>;
  readonly catalogue: Pick<Catalogue, 'models'>;
  /** Names of the pools that are configured. */
  readonly pools: readonly string[];
  /** Milliseconds, from any beginning. */
  readonly now?: () => number;
}

const MAX_AGE_MS = 1_000;
/** KEDA waits three seconds for an answer, Prometheus usually ten. */
const DEADLINE_MS = 1_000;

/** A reading of the store; `endedAtMs` is Infinity while it is under way. */
interface Reading {
  readonly rows: Promise<readonly ModelBacklog[]>;
  endedAtMs: number;
}

export function createBacklog({ store, catalogue, pools, now = () => performance.now() }: BacklogOptions): Backlog {
  let latest: Reading | undefined;

  /** The latest reading while it is new enough or under way, even if it failed; else another. */
  function reading(): Promise<readonly ModelBacklog[]> {
    if (latest && now() < latest.endedAtMs + MAX_AGE_MS) return latest.rows;
    const next: Reading = { rows: store.backlog(), endedAtMs: Infinity };
    const end = (): void => void (next.endedAtMs = now());
    next.rows.then(end, end);
    latest = next;
    return next.rows;
  }

  async function read(): Promise<readonly PoolBacklog[]> {
    const late = (): Error => new ServiceError('store_unavailable', 'The backlog could not be read in time.');
    const rows = await withDeadline(reading(), DEADLINE_MS, late);
    const poolOf = new Map(catalogue.models.map(({ name, pool }) => [name, pool]));
    return rows.map((row) => ({ pool: poolOf.get(row.model) ?? '', ...row }));
  }

  return {
    read,
    async ofPool(pool) {
      if (!pools.includes(pool)) throw new ServiceError('not_found', 'No such pool is configured in models.yaml.');
      const sum = { pool, jobs: 0, tokens: 0 };
      for (const row of await read()) {
        if (row.pool !== pool) continue;
        sum.jobs += row.jobs;
        sum.tokens += row.inputTokens;
      }
      return sum;
    },
  };
}
