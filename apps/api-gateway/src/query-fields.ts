import { z } from 'zod';

/** A point in time; becomes Unix milliseconds. */
export const instant = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], 'must be a date (2026-11-01) or a date and time with zone')
  .transform((text) => Date.parse(text));

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

/** One or several of a list: repeated, or with commas between them. */
export function someOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z
    .union([z.string(), z.array(z.string())])
    .transform((given) => [given].flat().flatMap((text) => text.split(',')))
    .pipe(z.array(z.enum(values, `must be some of ${values.join(', ')}`)))
    .transform((chosen) => [...new Set(chosen)].sort());
}
