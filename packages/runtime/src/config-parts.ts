import { ConfigError } from './config-error.js';

/**
 * Waits for all parts of a configuration, so that one run shows what is wrong with any of them. Parts that follow from
 * others may fail with the very error of those, which is told once.
 *
 * @throws ConfigError with the problems of all parts, in their order; whatever else a part fails with comes before that.
 */
export async function allConfigured<const Parts extends readonly Promise<unknown>[]>(
  parts: Parts,
): Promise<{ readonly [Index in keyof Parts]: Awaited<Parts[Index]> }> {
  const settled = await Promise.allSettled(parts);
  const errors = new Set(settled.flatMap((part) => (part.status === 'rejected' ? [part.reason as unknown] : [])));
  const problems = [...errors].flatMap((error) => {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  });
  if (problems.length > 0) throw new ConfigError('The configuration has problems', problems);
  return Promise.all(parts);
}
