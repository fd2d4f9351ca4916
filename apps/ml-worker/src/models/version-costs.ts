import type { Calibration } from '../scheduling/calibration.js';
import type { Batchings } from '../scheduling/batching.js';
import type { ServedPool } from './served-models.js';

export interface VersionCostsOptions {
  readonly calibration: Pick<Calibration, 'recall'>;
  readonly batchings: Pick<Batchings, 'inherit' | 'keepOnly'>;
}

/** Knows what runs of versions cost that come while the worker runs. */
export interface VersionCosts {
  /**
   * Gives each version of `next` that is not in `running` the cost that a file tells, else that of the main version which the same
   * public model has now: it is nearer than what is assumed of a model of which nothing is known, and follows the runs from there.
   */
  prepare(running: ServedPool, next: ServedPool): Promise<void>;
  /** Forgets the versions that are not served. */
  keepOnly(served: ServedPool): void;
}

export function createVersionCosts({ calibration, batchings }: VersionCostsOptions): VersionCosts {
  return {
    async prepare(running, next) {
      const before = new Set(running.versions.map(({ key }) => key));
      const unknown = await calibration.recall(next.versions.filter(({ key }) => !before.has(key)));
      for (const { key } of unknown) {
        const from = predecessorOf(key, running, next);
        if (from !== undefined) batchings.inherit(key, from);
      }
    },
    keepOnly: ({ versions }) => batchings.keepOnly(new Set(versions.map(({ key }) => key))),
  };
}

/** The version that serves the jobs now which a new version is going to get. */
function predecessorOf(key: string, running: ServedPool, next: ServedPool): string | undefined {
  for (const [name, { main, canary }] of next.models) {
    if (main.key === key || canary?.served.key === key) return running.models.get(name)?.main.key;
  }
  return undefined;
}
