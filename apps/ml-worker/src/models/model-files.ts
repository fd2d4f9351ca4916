import type { ModelsFile } from '@sluice/contracts';
import { createModelWatch, openModelRepository, type ModelWatch } from '@sluice/models';
import type { Logger } from '@sluice/runtime';
import type { WorkerConfig } from '../config.js';
import { createPoolLoader } from './pool-loader.js';
import { createReloadRetry } from './reload-retry.js';
import { createPoolServing, type PoolServing, type PoolServingOptions } from './pool-serving.js';
import type { ServedPool } from './served-models.js';

/** Where a worker has its models from. */
export interface ModelSource {
  /** What is served at first, as far as it can be loaded. */
  readonly served: ServedPool;
  /** Serves it. */
  serve(options: ModelServingOptions): ModelServing;
}

export interface ModelServingOptions extends Omit<PoolServingOptions, 'first' | 'found' | 'loader'> {
  /** Called after each change, with what is wrong. */
  readonly onApplied: (problems: readonly string[]) => void;
  /** Whether everything beside the served versions is loaded; what is not is tried again as they are. */
  readonly isComplete: () => boolean;
}

export interface ModelServing extends Pick<PoolServing, 'running' | 'unloadable'> {
  /** Starts the inference processes; see `PoolServing`. */
  start(): Promise<void>;
  /** Follows changes of the files, once the processes are started. */
  readonly watch: ModelWatch;
}

/** n.b. niceness says nothing to a graphics card. */
const NO_SHADOWS =
  'SLUICE_EXECUTION_PROVIDER is cuda, and a shadow would hold up the runs of jobs on the graphics card';

type ModelFilesConfig = Pick<WorkerConfig, 'pool' | 'modelsFile' | 'files' | 'modelPollMs' | 'modelDirectory'> & {
  readonly inference: Pick<WorkerConfig['inference'], 'provider'>;
};

/**
 * Finds what the configuration says in the model repository.
 *
 * @throws ServiceError `model_unavailable` when a model of the pool cannot be served.
 */
export async function openModelFiles(config: ModelFilesConfig, logger: Logger): Promise<ModelSource> {
  const { pool, modelsFile: first, files, modelPollMs: everyMs, inference } = config;
  const repository = await openModelRepository(config.modelDirectory);
  const noShadows = inference.provider.name === 'cpu' ? undefined : NO_SHADOWS;
  const loader = createPoolLoader({ pool, repository, noShadows });
  const found = await loader.load(first);
  return {
    served: found.served,
    serve({ onApplied, isComplete, ...options }) {
      const serving = createPoolServing({ ...options, first, found, loader });
      /** The last change could not be made. */
      let isRefused = false;
      const apply = async (file: ModelsFile): Promise<readonly string[]> => {
        isRefused = true;
        const problems = await serving.reload(file);
        isRefused = false;
        return problems;
      };
      let firstProblems = found.problems;
      const watch = createModelWatch({
        ...{ first, files, repository, pool, everyMs, apply, onApplied, logger },
        firstProblems: () => firstProblems,
      });
      const retry = createReloadRetry({
        isNeeded: () => isRefused || serving.unloadable.size > 0 || !isComplete(),
        retry: () => watch.check(),
      });
      return {
        get running() {
          return serving.running;
        },
        get unloadable() {
          return serving.unloadable;
        },
        async start() {
          firstProblems = await serving.start();
          for (const problem of firstProblems) logger.error({ problem }, 'a model cannot be served as its files say');
        },
        watch: {
          get problems() {
            return watch.problems;
          },
          get busy() {
            return watch.busy;
          },
          check: () => watch.check(),
          async start() {
            await watch.start();
            // n.b. where files are only read when somebody asks for it, so it is with those that could not be loaded.
            if (everyMs > 0) retry.start();
          },
          async stop() {
            retry.stop();
            await watch.stop();
          },
        },
      };
    },
  };
}

/** Models that never change. */
export function fixedModels(served: ServedPool): ModelSource {
  const nothing = async (): Promise<void> => undefined;
  const watch = { problems: [], busy: false, check: nothing, start: nothing, stop: nothing };
  return {
    served,
    serve: ({ host }) => ({
      running: served,
      unloadable: host.leftOut,
      watch,
      start: () => host.start(served.versions),
    }),
  };
}
