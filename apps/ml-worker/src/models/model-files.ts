import { createModelWatch, openModelRepository, type ModelWatch } from '@sluice/models';
import type { Logger } from '@sluice/runtime';
import type { WorkerConfig } from '../config.js';
import { createPoolLoader } from './pool-loader.js';
import { createPoolReload, type PoolReloadOptions } from './pool-reload.js';
import type { ServedPool } from './served-models.js';

/** Where a worker has its models from. */
export interface ModelSource {
  /** What is served at first. */
  readonly served: ServedPool;
  /** Has the worker follow changes, once it is started. */
  watch(options: ModelSourceWatchOptions): ModelWatch;
}

export interface ModelSourceWatchOptions extends Omit<PoolReloadOptions, 'served' | 'loader'> {
  /** Called after each change, with what is wrong. */
  readonly onApplied: (problems: readonly string[]) => void;
}

/**
 * Finds what the configuration says in the model repository.
 *
 * @throws ServiceError `model_unavailable` when a model of the pool cannot be served.
 */
export async function openModelFiles(config: WorkerConfig, logger: Logger): Promise<ModelSource> {
  const { pool, modelsFile: first, files, modelPollMs: everyMs } = config;
  const repository = await openModelRepository(config.modelDirectory);
  const loader = createPoolLoader({ pool, repository });
  const { served, problems } = await loader.load(first);
  for (const problem of problems) logger.error({ problem }, 'a model cannot be served as its files say');
  return {
    served,
    watch({ onApplied, ...options }) {
      const apply = createPoolReload({ ...options, served, loader });
      return createModelWatch({
        ...{ first, files, repository, pool, everyMs, apply, onApplied, logger },
        firstProblems: problems,
      });
    },
  };
}

/** Models that never change. */
export function fixedModels(served: ServedPool): ModelSource {
  const nothing = async (): Promise<void> => undefined;
  return { served, watch: () => ({ problems: [], busy: false, check: nothing, start: nothing, stop: nothing }) };
}
