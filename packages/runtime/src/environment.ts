import { inOwnWords } from '@sluice/contracts';
import { z } from 'zod';
import { ConfigError } from './config-error.js';

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The longest time that a timer of Node can wait, about 24.8 days; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * A duration as people write it (`250ms`, `25s`, `5m`, `1h`, `20d`) or a number of milliseconds, within `minMs … maxMs`
 * (0 and what a timer can wait when absent); becomes milliseconds.
 */
export function duration(minMs = 0, maxMs = LONGEST_TIMER_MS) {
  return z.union([z.string(), z.number()]).transform((value, context): number => {
    const match = /^(\d{1,12})(ms|s|m|h|d)?$/.exec(String(value).trim());
    const ms = match ? Number(match[1]) * UNITS_MS[(match[2] ?? 'ms') as keyof typeof UNITS_MS] : NaN;
    if (ms >= minMs && ms <= maxMs) return ms;
    const message = match
      ? `must be from ${minMs} ms to ${maxMs} ms`
      : 'must be a duration such as "250ms", "25s" or "5m"';
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

/** A duration without further bounds. */
export const durationMs = duration();

const DAY_MS = UNITS_MS.d;
/** A hundred years. */
const LONGEST_SPAN_DAYS = 36_525;

/**
 * A whole number of days such as `90d`, for how long something is kept rather than for a timer to wait; becomes
 * milliseconds. At least `minDays` (1 when absent), at most a hundred years.
 */
export function days(minDays = 1) {
  return z.string().transform((value, context): number => {
    const match = /^(\d{1,6})d$/.exec(value.trim());
    const count = match ? Number(match[1]) : NaN;
    if (count >= minDays && count <= LONGEST_SPAN_DAYS) return count * DAY_MS;
    const message = match
      ? `must be from ${minDays}d to ${LONGEST_SPAN_DAYS}d`
      : 'must be a number of days such as "90d"';
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

const UNITS_BYTES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

/** An amount of memory such as `512MiB`, or a number of bytes; becomes bytes. At least `minBytes`. */
export function bytes(minBytes = 0) {
  return z.string().transform((value, context): number => {
    const match = /^(\d{1,15})(B|KiB|MiB|GiB|TiB)?$/.exec(value.trim());
    const amount = match ? Number(match[1]) * UNITS_BYTES[(match[2] ?? 'B') as keyof typeof UNITS_BYTES] : NaN;
    if (amount >= minBytes && amount <= Number.MAX_SAFE_INTEGER) return amount;
    const message = match
      ? `must be from ${minBytes} to ${Number.MAX_SAFE_INTEGER} bytes`
      : 'must be an amount of memory such as "512MiB" or "2GiB"';
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

/** A whole number written in text, within `min … max`. */
export function wholeNumber(min: number, max: number) {
  return z
    .string()
    .regex(/^\d{1,15}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min).max(max));
}

/**
 * Reads settings from environment variables. Empty variables count as absent, as a shell's `NAME=` does.
 * Throws `ConfigError` with every problem, each named by its variable; values are not repeated, they may be secret.
 */
export function parseEnvironment<Schema extends z.ZodType>(
  schema: Schema,
  environment: NodeJS.ProcessEnv,
): Readonly<z.output<Schema>> {
  const present = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(present, { error: inOwnWords });
  if (parsed.success) return Object.freeze(parsed.data);
  throw new ConfigError(
    'The environment has problems',
    parsed.error.issues.map((issue) => {
      const name = issue.path.join('.');
      return name in present ? `${name}: ${issue.message}` : `${name}: is missing`;
    }),
  );
}
