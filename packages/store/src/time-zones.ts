import { ServiceError } from '@sluice/contracts';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';

export interface TimeZones {
  /**
   * The name under which a time zone is stored: `europe/berlin` is `Europe/Berlin`, and all names of UTC are `UTC`.
   *
   * Quotas are cut by the zones of this program and statements by those of PostgreSQL, so a name must mean the same to both.
   * `CET`, `BST` and the like do not: PostgreSQL takes them for abbreviations, which know no summer time.
   *
   * @throws ServiceError `invalid_request` for a name that is not a time zone here and there.
   */
  require(timeZone: string): Promise<string>;
}

const findStatement = loadStatement('find-time-zone');

export function createTimeZones(database: Database): TimeZones {
  /** By what was asked for; only what was found, so no more than there are zones in a few spellings. */
  const found = new Map<string, string>();

  async function find(timeZone: string): Promise<string | undefined> {
    const canonical = canonicalName(timeZone);
    if (canonical === undefined || canonical === 'UTC') return canonical;
    const [row] = await database.run<{ name: string }>(findStatement, [timeZone]);
    return row?.name;
  }

  return {
    async require(timeZone) {
      const name = found.get(timeZone) ?? (await find(timeZone));
      if (name === undefined) throw refused(timeZone);
      found.set(name, name);
      return name;
    },
  };
}

/**
 * n.b. this is not the name that is stored. It may be one from before a city was renamed (`Asia/Calcutta`), which
 * a PostgreSQL with the time zones of a newer system need not have any more.
 */
function canonicalName(timeZone: string): string | undefined {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

function refused(timeZone: string): ServiceError {
  return new ServiceError('invalid_request', `There is no time zone "${timeZone}".`, {
    fields: [{ field: 'timeZone', reason: 'must be an IANA time zone such as "Europe/Berlin", and no abbreviation' }],
  });
}
