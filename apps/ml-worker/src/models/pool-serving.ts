import type { ModelsFile } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import { UnloadableModelError } from '../inference/inference-child.js';
import type { InferenceHost } from '../inference/inference-host.js';
import type { ModelRouter } from './model-router.js';
import type { LoadedPool, PoolLoader, Refused } from './pool-loader.js';
import type { ServedPool } from './served-models.js';
import type { VersionCosts } from './version-costs.js';
import type { VersionLabels } from './version-labels.js';

export interface PoolServingOptions {
  /** `models.yaml` at first, and what the loader found for it. */
  readonly first: ModelsFile;
  readonly found: LoadedPool;
  readonly loader: PoolLoader;
  readonly router: Pick<ModelRouter, 'switchTo'>;
  readonly host: Pick<InferenceHost, 'start' | 'serve' | 'leftOut'>;
  readonly costs: VersionCosts;
  /** Names versions, before they are tried. */
  readonly labels: Pick<VersionLabels, 'learn'>;
  /** Whether texts of a version are waiting or running. */
  readonly stillNeeded: (key: string) => boolean;
  readonly logger: Logger;
}

/** Has inference processes serve what the files say, as far as it can be loaded. One call at a time. */
export interface PoolServing {
  /** What is served now. */
  readonly running: ServedPool;
  /** Why versions could not be loaded into ONNX Runtime when that was last tried, by the version's key; also those that once could. */
  readonly unloadable: ReadonlyMap<string, string>;
  /**
   * Starts the processes. Of a model whose version is `latest` an earlier one is served when the latest cannot be loaded.
   *
   * @returns what is wrong with the files, one sentence each.
   * @throws ServiceError `model_unavailable` when a version that a model is pinned to cannot be loaded, or no process can be started.
   */
  start(): Promise<readonly string[]>;
  /**
   * Takes over what the files say now.
   *
   * ```
   * files ─▶ found, described well, fit for jobs of before? ─no─▶ that model stays as it is
   *   ▲        └─▶ new versions? ─no─▶ jobs go by the new routes
   *   │              └─▶ a new process loads and warms all of them ─(it cannot)─▶ everything stays as it is
   *   └─ without it ───(one of the new cannot be loaded)─┤
   *                    jobs go by the new routes; those begun end on their version; the other processes follow
   * ```
   *
   * Versions that processes had to be started without are loaded again, if they can be.
   *
   * @returns what is wrong with the files, one sentence each.
   * @throws ServiceError `model_unavailable` when everything stays as it is.
   */
  reload(file: ModelsFile): Promise<readonly string[]>;
}

export function createPoolServing(options: PoolServingOptions): PoolServing {
  const { first, found, loader, router, host, costs, labels, stillNeeded, logger } = options;
  let running = found.served;
  let unloadable: ReadonlyMap<string, string> = new Map();

  function switchTo(next: ServedPool): void {
    running = next;
    router.switchTo(next.models);
  }

  /** Tries without each version that turns out not to be loadable, until what is left can be served. */
  async function tryWithout<Outcome>(attempt: (refused: Refused) => Promise<Outcome>): Promise<Outcome> {
    const reasons = new Map<string, string>();
    const refused = new Map<string, string>();
    const suspects = new Set<string>();
    unloadable = reasons;
    for (;;) {
      try {
        return await attempt(refused);
      } catch (error) {
        if (!(error instanceof UnloadableVersionError)) throw error;
        const { key: model, reason } = error;
        if (error.wordless && !suspects.has(model)) {
          suspects.add(model);
          logger.warn({ model, reason }, 'a process ended while it loaded a version: that is tried once more');
          continue;
        }
        logger.error({ model, reason }, 'a version cannot be loaded and is left out');
        reasons.set(error.key, error.reason);
        refused.set(error.directory, error.reason);
      }
    }
  }

  async function startWith({ served, problems }: LoadedPool): Promise<readonly string[]> {
    labels.learn(served.models);
    await blaming(served, host.start(served.versions));
    switchTo(served);
    return problems;
  }

  async function takeOver(file: ModelsFile, refused: Refused): Promise<readonly string[]> {
    const { served: next, problems } = await loader.reload(file, running, refused);
    const notes = [...problems, ...restartNeeded(file, running)];
    labels.learn(next.models);
    const [before, after] = [keysOf(running), keysOf(next)];
    if (isSame(before, after)) {
      switchTo(next);
      if (host.leftOut.size === 0) return notes;
    }
    logger.info({ before, after, leftOut: [...host.leftOut.keys()] }, 'other versions are going to be served');
    await costs.prepare(running, next);
    try {
      const serving = host.serve(next.versions, { onServing: () => switchTo(next), stillNeeded });
      await blaming(next, serving, before);
    } finally {
      costs.keepOnly(running);
    }
    logger.info({ versions: after }, 'the inference processes with the versions before have been told to end');
    return [...notes, ...[...host.leftOut].map(([key, reason]) => `${key} cannot be loaded again: ${reason}`)];
  }

  return {
    get running() {
      return running;
    },
    get unloadable() {
      return host.leftOut.size === 0 ? unloadable : new Map([...unloadable, ...host.leftOut]);
    },
    start: () =>
      tryWithout(async (refused) => startWith(refused.size === 0 ? found : await loader.load(first, refused))),
    reload: (file) => tryWithout((refused) => takeOver(file, refused)),
  };
}

/** A version whose files are as they should be, and which cannot be loaded. */
class UnloadableVersionError extends Error {
  constructor(
    readonly key: string,
    readonly directory: string,
    readonly reason: string,
    readonly wordless: boolean,
  ) {
    super(`${key} cannot be loaded: ${reason}`);
  }
}

/**
 * Turns the failure of one version into an `UnloadableVersionError`. A version that already runs is not to blame: what keeps it from being
 * loaded again would keep others from it as well.
 */
async function blaming(
  { versions }: ServedPool,
  loading: Promise<void>,
  running: readonly string[] = [],
): Promise<void> {
  try {
    await loading;
  } catch (error) {
    if (!(error instanceof UnloadableModelError) || running.includes(error.model)) throw error;
    const guilty = versions.find(({ key }) => key === error.model);
    throw guilty ? new UnloadableVersionError(guilty.key, guilty.model.directory, error.reason, error.wordless) : error;
  }
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
