import type { ModelRoutes } from '../models/served-models.js';
import type { ShadowTally } from './shadow-tally.js';
import type { Shadows } from './shadows.js';

/** Comparisons of versions as `/health` shows them. */
export function shadowDetails(
  models: ReadonlyMap<string, ModelRoutes>,
  { shadows, tally }: { readonly shadows: Shadows; readonly tally: ShadowTally },
) {
  return [...models].flatMap(([model, { main, shadow }]) => {
    if (!shadow) return [];
    const pair = { model, version: main.model.version, shadow: shadow.served.model.version };
    const process = shadows.processes.get(shadow.served.key);
    return {
      ...pair,
      state: process?.state ?? 'loading',
      ...(process?.reason !== undefined && { reason: process.reason }),
      pids: process?.host.pids ?? [],
      waitingJobs: shadows.waiting,
      ...tally.of(pair),
    };
  });
}
