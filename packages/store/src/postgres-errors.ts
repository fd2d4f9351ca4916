import { ServiceError } from '@sluice/contracts';

/**
 * What to do about an error of PostgreSQL or of its connection:
 * `data` – the values were refused, trying again cannot help; `contention` – the transaction lost against another and
 * should be tried again at once; `unavailable` – everything else: no connection, shutting down, read-only, out of
 * resources, too slow, not migrated.
 */
export type ErrorKind = 'data' | 'contention' | 'unavailable';

/** SQLSTATE classes: 22 data exception, 23 integrity constraint violation, 54 program limit exceeded. */
const DATA_CLASSES: ReadonlySet<string> = new Set(['22', '23', '54']);
/** serialization_failure, deadlock_detected. */
const CONTENTION: ReadonlySet<string> = new Set(['40001', '40P01']);

/** The SQLSTATE of an error that PostgreSQL sent; undefined for errors of the connection. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('severity' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function errorKind(error: unknown): ErrorKind {
  const state = sqlState(error);
  if (state === undefined) return 'unavailable';
  if (CONTENTION.has(state)) return 'contention';
  return DATA_CLASSES.has(state.slice(0, 2)) ? 'data' : 'unavailable';
}

/** The error as callers see it: refused values as they are, everything else as `store_unavailable`. */
export function toStoreError(error: unknown): unknown {
  if (errorKind(error) === 'data') return error;
  return new ServiceError('store_unavailable', 'The database did not answer in time or refused to.', { cause: error });
}
