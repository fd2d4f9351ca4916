import { z } from 'zod';
import { ConfigError } from './config-error.js';

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A duration as people write it (`250ms`, `25s`, `5m`, `1h`, `30d`) or a number of milliseconds; becomes milliseconds. */
export const durationMs = z.union([z.string(), z.number()]).transform((value, context): number => {
  const match = /^(\d{1,12})(ms|s|m|h|d)?$/.exec(String(value).trim());
  if (!match) {
    context.addIssue({ code: 'custom', message: 'must be a duration such as "250ms", "25s" or "5m"' });
    return z.NEVER;
  }
  return Number(match[1]) * UNITS_MS[(match[2] ?? 'ms') as keyof typeof UNITS_MS];
});

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
  const parsed = schema.safeParse(present);
  if (parsed.success) return Object.freeze(parsed.data);
  throw new ConfigError(
    'The environment has problems',
    parsed.error.issues.map((issue) => {
      const name = issue.path.join('.');
      return name in present ? `${name}: ${issue.message}` : `${name}: is missing`;
    }),
  );
}
