import type { ModelsFile } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { InferenceHost } from '../inference/inference-host.js';
import type { ModelRouter } from './model-router.js';
import type { PoolLoader } from './pool-loader.js';
import type { ServedPool } from './served-models.js';

export interface PoolReloadOptions {
  /** What is served at first. */
  readonly served: ServedPool;
  readonly loader: Pick<PoolLoader, 'reload'>;
  readonly router: Pick<ModelRouter, 'switchTo'>;
  readonly host: Pick<InferenceHost, 'serve'>;
  /** Whether texts of a version are waiting or running. */
  readonly stillNeeded: (key: string) => boolean;
  readonly logger: Logger;
}

/** Takes over what `models.yaml` says; see `createPoolReload`. Resolves with what is wrong, one sentence each. */
export type PoolReload = (file: ModelsFile) => Promise<readonly string[]>;

/**
 * Has a worker serve what its files say now.
 *
 * ```
 * files ─▶ found, described well, fit for jobs of before? ─no─▶ that model stays as it is
 *            └─▶ new versions? ─no─▶ jobs go by the new routes
 *                  └─▶ a new process loads and warms all of them ─(it cannot)─▶ everything stays as it is
 *                        └─▶ jobs go by the new routes; those begun end on their version; the other processes follow
 * ```
 *
 * One call at a time.
 *
 * @throws ServiceError `model_unavailable` when everything stays as it is.
 */
export function createPoolReload(options: PoolReloadOptions): PoolReload {
  const { loader, router, host, stillNeeded, logger } = options;
  let running = options.served;

  function switchTo(next: ServedPool): void {
    running = next;
    router.switchTo(next.models);
  }

  return async (file) => {
    const { served: next, problems } = await loader.reload(file, running);
    const notes = [...problems, ...restartNeeded(file, running)];
    const [before, after] = [keysOf(running), keysOf(next)];
    if (isSame(before, after)) {
      switchTo(next);
      return notes;
    }
    logger.info({ before, after }, 'other versions are going to be served');
    await host.serve(next.versions, { onServing: () => switchTo(next), stillNeeded });
    logger.info({ versions: after }, 'every inference process serves the new versions');
    return notes;
  };
}

/** Queues are taken from as long as the worker runs, so other classes need another start. */
function restartNeeded(file: ModelsFile, { pool, classes }: ServedPool): readonly string[] {
  const wanted = file.pools[pool]?.classes ?? [];
  return isSame([...wanted].sort(), [...classes].sort())
    ? []
    : [`The classes of the pool "${pool}" have changed: that takes effect when the worker is started again.`];
}

function keysOf({ versions }: ServedPool): readonly string[] {
  return versions.map(({ key }) => key).sort();
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((entry, at) => entry === b[at]);
}
