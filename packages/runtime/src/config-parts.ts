import { ConfigError } from './config-error.js';

/** A part of a configuration that is being read, or the function that reads it. */
export type ConfigPart = Promise<unknown> | (() => unknown);

type Read<Part> = Part extends () => infer Value ? Awaited<Value> : Awaited<Part>;

/**
 * Waits for all parts of a configuration, so that one run shows what is wrong with any of them. Parts that follow from
 * others may fail with the very error of those, which is told once.
 *
 * @throws ConfigError with the problems of all parts, in their order; whatever else a part fails with comes before that.
 */
export async function allConfigured<const Parts extends readonly ConfigPart[]>(
  parts: Parts,
): Promise<{ readonly [Index in keyof Parts]: Read<Parts[Index]> }> {
  const reading = parts.map((part) => (typeof part === 'function' ? Promise.resolve().then(part) : part));
  const settled = await Promise.allSettled(reading);
  const errors = new Set(settled.flatMap((part) => (part.status === 'rejected' ? [part.reason as unknown] : [])));
  const problems = [...errors].flatMap((error) => {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  });
  if (problems.length > 0) throw new ConfigError('The configuration has problems', problems);
  return (await Promise.all(reading)) as { readonly [Index in keyof Parts]: Read<Parts[Index]> };
}
