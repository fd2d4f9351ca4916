import fc from 'fast-check';

/*
 * Runs are random, and a failure prints its seed. SLUICE_PROPERTY_SEED=<seed> repeats them; SLUICE_PROPERTY_RUNS=<n> makes
 * n times as many.
 */
const seed = process.env['SLUICE_PROPERTY_SEED'];
if (seed !== undefined) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });
const times = Number(process.env['SLUICE_PROPERTY_RUNS'] ?? 1);

/** The number of runs of a property. */
export function runs(count: number): { readonly numRuns: number } {
  return { numRuns: count * times };
}
