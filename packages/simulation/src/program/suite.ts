import { installEdges } from '../kernel/index.js';
import type { SeedOutcome, SeedRequest, SimulatedSuite } from './seed-outcome.js';

/**
 * Takes over time and chance in this operating-system process, then loads the code to be simulated: the suite, or the
 * module at `url`.
 */
export async function loadSuite(url = new URL('../suite/index.js', import.meta.url).href): Promise<SimulatedSuite> {
  installEdges();
  return (await import(url)) as SimulatedSuite;
}

/** One seed; a simulation that cannot run counts as a failure of the seed. */
export async function runOne(suite: SimulatedSuite, request: SeedRequest): Promise<SeedOutcome> {
  try {
    return await suite.runSeed(request);
  } catch (error) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const nothing = { hash: '', events: 0, crashPoints: 0, virtualMs: 0, jobs: 0, crashes: {}, faults: {}, checks: {} };
    return { seed: request.seed, failure: { invariant: 'simulation', detail }, ...nothing };
  }
}
