import { isServiceError, ServiceError, type Batching, type ModelEntry, type ModelsFile } from '@sluice/contracts';
import {
  createTokenizer,
  differences,
  findShadow,
  findVersions,
  isTextModel,
  lookOfVersion,
  requireSameKind,
  type Model,
  type ModelRepository,
  type SideVersion,
} from '@sluice/models';
import type { BatchLimits } from '../scheduling/batching.js';
import {
  loadedFor,
  versionsOf,
  type ModelRoutes,
  type ServedModel,
  type ServedPool,
  type Shadow,
  isServedText,
} from './served-models.js';

export interface PoolLoaderOptions {
  readonly pool: string;
  readonly repository: ModelRepository;
  /** Why no model can have a shadow here, as part of a sentence; they can when absent. */
  readonly noShadows?: string | undefined;
}

/** A pool as its files are now. */
export interface LoadedPool {
  readonly served: ServedPool;
  /** What is wrong with the files, one sentence each: such versions are not served, those that ran before are. */
  readonly problems: readonly string[];
}

/** Versions that ONNX Runtime could not load: the reason by folder. */
export type Refused = ReadonlyMap<string, string>;

/** Finds what a pool serves. Nothing is loaded into ONNX Runtime. What is `refused` counts as damaged. */
export interface PoolLoader {
  /**
   * @throws ServiceError `model_unavailable`, with everything that is wrong, when a model of the pool cannot be served.
   */
  load(file: ModelsFile, refused?: Refused): Promise<LoadedPool>;
  /**
   * Loads a pool anew. What cannot be served stays as it is in `running`; a version whose files have changed gets another key.
   * The classes of a pool cannot change.
   *
   * @throws ServiceError `model_unavailable` when the pool is gone or serves nothing.
   */
  reload(file: ModelsFile, running: ServedPool, refused?: Refused): Promise<LoadedPool>;
}

/** One version, whatever public names lead to it. */
interface Version {
  readonly key: string;
  /** The model, under that key. */
  readonly served: ServedModel;
  /** Of its files. */
  readonly look: string;
  /** From 0: how often files of that version have been replaced while it was served. */
  readonly generation: number;
}

export function createPoolLoader({ pool, repository, noShadows }: PoolLoaderOptions): PoolLoader {
  const versions = new WeakMap<ServedModel, Version>();

  async function makeVersion(model: Model, running: ServedModel | undefined): Promise<Version> {
    const look = await lookOfVersion(model.directory);
    const before = running && versions.get(running);
    if (before?.look === look) return before;
    // Other files under the same number: for the processes that is another model.
    const generation = before ? before.generation + 1 : 0;
    const label = `${model.name}/${model.version}`;
    const key = generation === 0 ? label : `${label}~${generation}`;
    const served = isTextModel(model) ? { key, model, tokenizer: await createTokenizer(model) } : { key, model };
    return { key, served, look, generation };
  }

  async function serve(model: Model, { batching }: ModelEntry, load: Load): Promise<ServedModel> {
    const { directory } = model;
    const making = load.versions.get(directory) ?? makeVersion(model, load.before.get(directory));
    load.versions.set(directory, making);
    const version = await making;
    if (version.generation > 0) {
      load.problems.push(
        `${model.name}/${model.version} was changed in place: jobs before and after name the same version, a change needs a new one`,
      );
    }
    const served: ServedModel = { ...version.served, ...(batching && { batching: limitsOf(batching) }) };
    versions.set(served, version);
    return served;
  }

  async function routesOf(name: string, entry: ModelEntry, load: Load): Promise<ModelRoutes> {
    const found = await findVersions(load.repository, name, entry);
    const { main } = found;
    const before = load.running?.models.get(name);
    if (before) await requireSameKind(name, before.main.model, main);
    load.problems.push(...found.problems);
    const served = await serve(main, entry, load);
    const shadow = await shadowOf(name, entry, main, load);
    const { canary: policy } = entry;
    const canary = await besideMain(found.canary, before?.canary, main, async (model) =>
      policy ? { ...policy, served: await serve(model, entry, load) } : undefined,
    );
    return { main: served, ...(canary && { canary }), ...(shadow && { shadow }) };
  }

  async function shadowOf(name: string, entry: ModelEntry, main: Model, load: Load): Promise<Shadow | undefined> {
    if (entry.shadow && noShadows !== undefined) {
      load.problems.push(`The shadow of ${name} cannot be used: ${noShadows}`);
      return undefined;
    }
    const found = await findShadow(repository, name, entry, main);
    load.problems.push(...found.problems);
    return besideMain(found, load.running?.models.get(name)?.shadow, main, async (model) => {
      const served = await serve(model, entry, load);
      return isServedText(served) && entry.shadow ? { ...entry.shadow, served } : undefined;
    });
  }

  /**
   * What is served beside the main version. While that is wrong, what was served there before goes on, with the jobs that it had,
   * if its files are as they were and it takes the jobs of the main version.
   */
  async function besideMain<Side extends { readonly served: ServedModel }>(
    { model, isWrong }: SideVersion,
    before: Side | undefined,
    main: Model,
    serveIt: (model: Model) => Promise<Side | undefined>,
  ): Promise<Side | undefined> {
    if (model) return serveIt(model);
    return isWrong && before && (await canGoOn(before.served, main)) ? before : undefined;
  }

  async function canGoOn(served: ServedModel, main: Model): Promise<boolean> {
    const { model } = served;
    if (model.directory === main.directory) return false;
    if (versions.get(served)?.look !== (await lookOfVersion(model.directory))) return false;
    return (await differences(main, model)).length === 0;
  }

  async function loadAll(file: ModelsFile, running?: ServedPool, refused: Refused = new Map()): Promise<LoadedPool> {
    const classes = file.pools[pool]?.classes;
    if (!classes) throw new ServiceError('model_unavailable', `models.yaml has no pool "${pool}".`);
    const load = newLoad(running, without(refused, repository));
    const models = new Map<string, ModelRoutes>();
    for (const [name, entry] of Object.entries(file.models)) {
      if (entry.pool !== pool) continue;
      const routes = await routesOf(name, entry, load).catch((error: unknown) => {
        if (!isServiceError(error)) throw error;
        load.problems.push(error.message);
        return running?.models.get(name);
      });
      if (routes) models.set(name, routes);
      else if (!running) load.missing += 1;
    }
    if (load.missing > 0) throw new ServiceError('model_unavailable', [...new Set(load.problems)].join('; '));
    if (models.size === 0) throw new ServiceError('model_unavailable', `No model belongs to the pool "${pool}".`);
    const served = { pool, classes: running?.classes ?? classes, models, versions: versionsOf(models) };
    return { served, problems: [...new Set(load.problems)] };
  }

  return { load: (file, refused) => loadAll(file, undefined, refused), reload: loadAll };
}

/** The repository as it is without these versions. */
function without(refused: Refused, repository: ModelRepository): ModelRepository {
  return {
    ...repository,
    async findIntact(name, version) {
      const model = await repository.findIntact(name, version);
      const reason = refused.get(model.directory);
      if (reason === undefined) return model;
      throw new ServiceError('model_unavailable', `${name}/${version} cannot be loaded: ${reason}`);
    },
  };
}

/** A load under way. */
interface Load {
  readonly repository: ModelRepository;
  readonly running: ServedPool | undefined;
  /** What runs, by folder. */
  readonly before: ReadonlyMap<string, ServedModel>;
  /** What was made already, by folder. */
  readonly versions: Map<string, Promise<Version>>;
  readonly problems: string[];
  /** Models that cannot be served. */
  missing: number;
}

function newLoad(running: ServedPool | undefined, repository: ModelRepository): Load {
  const before = [...(running?.models.values() ?? [])].flatMap(loadedFor);
  return {
    repository,
    running,
    before: new Map(before.map((served) => [served.model.directory, served])),
    versions: new Map(),
    problems: [],
    missing: 0,
  };
}

/** By the worker's names. */
function limitsOf(batching: Batching): Partial<BatchLimits> {
  const { maxBatchTokens, maxPaddingRatio, maxBatchDelayMs, targetLatencyMs } = batching;
  return {
    ...(maxBatchTokens !== undefined && { maxTokens: maxBatchTokens }),
    ...(maxPaddingRatio !== undefined && { maxPadding: maxPaddingRatio }),
    ...(maxBatchDelayMs !== undefined && { maxDelayMs: maxBatchDelayMs }),
    ...(targetLatencyMs !== undefined && { targetLatencyMs }),
  };
}
