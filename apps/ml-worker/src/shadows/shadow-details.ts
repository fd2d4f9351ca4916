import type { ModelRoutes } from '../models/served-models.js';
import type { ShadowTally } from './shadow-tally.js';
import type { Shadows } from './shadows.js';

/** Comparisons of versions as `/health` shows them. */
export function shadowDetails(
  models: ReadonlyMap<string, ModelRoutes>,
  { shadows, tally }: { readonly shadows: Shadows; readonly tally: ShadowTally },
) {
  return [...models].flatMap(([model, { main: served, shadow }]) => {
    if (!shadow) return [];
    const version = shadows.versions.get(shadow.served.key);
    return {
      ...{ model, version: served.model.version, shadow: shadow.served.model.version },
      state: version?.state ?? 'loading',
      ...(version?.reason !== undefined && { reason: version.reason }),
      pids: version?.host.pids ?? [],
      waitingJobs: version?.waiting ?? 0,
      ...tally.of({ model, served, shadow }),
    };
  });
}
