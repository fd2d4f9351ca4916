import { invalidRequest } from './field-errors.js';
import { momentMs } from './query-fields.js';

/** What a tenant asks for: days of its calendar or instants; `from` inclusive, `to` exclusive. */
export interface AskedRange {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/** Unix milliseconds, whole quarters of an hour; `fromMs` inclusive, `toMs` exclusive. */
export interface UsageRange {
  readonly fromMs: number;
  readonly toMs: number;
}

const DAY_MS = 86_400_000;
/** Usage is kept by quarters of an hour. Days of every zone begin with one. */
const QUARTER_MS = 900_000;
const USUAL_DAYS = 30;
const MAX_DAYS = 400;

/**
 * The range that a report covers: up to now, and from 30 days before its end, unless the tenant says otherwise; rounded
 * outwards to what is kept apart.
 *
 * @throws ServiceError `invalid_request` for a range that is empty or longer than 400 days.
 */
export function usageRange({ from, to }: AskedRange, timeZone: string, nowMs: number): UsageRange {
  const toMs = to === undefined ? nowMs : momentMs(to, timeZone);
  const fromMs = from === undefined ? toMs - USUAL_DAYS * DAY_MS : momentMs(from, timeZone);
  if (fromMs >= toMs) throw invalidRequest([{ field: 'from', reason: 'must be before "to"' }]);
  // n.b. a year of days is an hour longer than that where the clocks were changed in between.
  if (Math.round((toMs - fromMs) / DAY_MS) > MAX_DAYS) {
    throw invalidRequest([{ field: 'from', reason: `must be at most ${MAX_DAYS} days before "to"` }]);
  }
  return {
    fromMs: Math.floor(fromMs / QUARTER_MS) * QUARTER_MS,
    toMs: Math.ceil(toMs / QUARTER_MS) * QUARTER_MS,
  };
}
