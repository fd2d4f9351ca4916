import { startOfDay } from '@sluice/quota';
import type { Request } from 'express';
import { z } from 'zod';
import { validate } from './field-errors.js';

/** A day of the tenant's calendar, or an instant; see `momentMs`. */
export const moment = z.union(
  [z.iso.date(), z.iso.datetime({ offset: true })],
  'must be a date (2026-11-01) or a date and time with zone',
);

/** When a day begins in the time zone, or the instant itself; Unix milliseconds. */
export function momentMs(text: string, timeZone: string): number {
  return text.includes('T') ? Date.parse(text) : startOfDay(text, timeZone);
}

const nothing = z.strictObject({});

/**
 * Refuses any query parameter. n.b. `request.query` is parsed each time it is read, so a URL without a query costs nothing.
 *
 * @throws ServiceError `invalid_request`, naming each.
 */
export function requireNoQuery(request: Request): void {
  if (request.url.includes('?')) validate(nothing, request.query);
}

/** How many items a page holds. */
export function pageSize(usual: number, max: number) {
  return z
    .string()
    .regex(/^\d{1,5}$/, 'must be a whole number')
    .transform(Number)
    .refine((size) => size >= 1 && size <= max, `must be 1 to ${max}`)
    .default(usual);
}

/** What a page before gave as `nextCursor`. */
export const cursorField = z.string().min(1).max(500).optional();

/** One or several of a list: repeated, or with commas between them. `hint` is said of any other value. */
export function someOf<const Values extends readonly [string, ...string[]]>(values: Values, hint = '') {
  return z
    .union([z.string(), z.array(z.string())])
    .transform((given) => [given].flat().flatMap((text) => text.split(',')))
    .pipe(z.array(z.enum(values, `must be some of ${values.join(', ')}${hint && `; ${hint}`}`)))
    .transform((chosen) => [...new Set(chosen)].sort());
}
