import { isServiceError, ServiceError, type ModelEntry, type ModelsFile } from '@sluice/contracts';
import {
  createModelWatch,
  createTokenizer,
  findVersions,
  isTextModel,
  lookOfVersion,
  openModelRepository,
  requireSameKind,
  tokenizerId,
  type Model,
  type ModelRepository,
  type ModelWatch,
} from '@sluice/models';
import type { ConfigFolder, Logger } from '@sluice/runtime';
import { createCatalogue, type Catalogue, type PublicModel } from './catalogue.js';

export interface CatalogueFilesOptions {
  /** `models.yaml` as it was read at first. */
  readonly models: ModelsFile;
  /** Where it is read again. */
  readonly files: Pick<ConfigFolder, 'models' | 'modelsLook'>;
  readonly modelDir: string;
  /** Time between two looks at the files, in milliseconds; 0: none. */
  readonly modelPollMs: number;
  readonly logger: Logger;
}

/** The catalogue, and what keeps it up to date while it is started. */
export interface CatalogueFiles {
  readonly catalogue: Catalogue;
  readonly watch: ModelWatch;
}

/** A public model and what it was made from. */
interface Listed {
  readonly listed: PublicModel;
  readonly model: Model;
  readonly look: string;
  readonly tokenizerId: string | undefined;
}

type ListedModels = ReadonlyMap<string, Listed>;

/**
 * Joins `config/models.yaml` with the model repository. The gateway counts input tokens with the same tokenizer files
 * as the worker, so the hold is exact; which version runs a job is decided by the worker, and all of them count alike.
 *
 * @throws ServiceError `model_unavailable` when a configured model is missing or broken.
 */
export async function openCatalogue(options: CatalogueFilesOptions): Promise<CatalogueFiles> {
  const { models: first, files, modelDir, modelPollMs: everyMs, logger } = options;
  const repository = await openModelRepository(modelDir);
  const loaded = await listAll(repository, first, new Map());
  if (loaded.broken.length > 0) throw new ServiceError('model_unavailable', loaded.broken.join('; '));
  let current = loaded.models;
  const catalogue = createCatalogue(publicOf(current));

  async function apply(file: ModelsFile): Promise<readonly string[]> {
    const { models, broken, leftOut } = await listAll(repository, onPoolsOf(first, file), current);
    const changed = [...models].filter(([name, { listed }]) => current.get(name)?.listed !== listed);
    const isSame = changed.length === 0 && models.size === current.size;
    current = models;
    catalogue.replace(publicOf(models));
    if (!isSame)
      logger.info({ models: [...models.keys()], changed: changed.map(([name]) => name) }, 'the catalogue has changed');
    return [...poolChanges(first, file), ...broken, ...leftOut];
  }

  for (const problem of loaded.leftOut) logger.error({ problem }, 'a model cannot be served as its files say');
  const watch = createModelWatch({
    ...{ first, files, repository, everyMs, apply, logger },
    firstProblems: () => loaded.leftOut,
    onApplied: () => undefined,
  });
  return { catalogue, watch };
}

interface AllListed {
  readonly models: ListedModels;
  /** Models that are wrong: what was known of them before stays. */
  readonly broken: readonly string[];
  /** What is wrong with other versions than the one that is listed. */
  readonly leftOut: readonly string[];
}

async function listAll(repository: ModelRepository, file: ModelsFile, before: ListedModels): Promise<AllListed> {
  const models = new Map<string, Listed>();
  const [broken, leftOut] = [new Set<string>(), new Set<string>()];
  for (const [name, entry] of Object.entries(file.models)) {
    try {
      const found = await findVersions(repository, name, entry);
      for (const problem of found.problems) leftOut.add(problem);
      const classes = file.pools[entry.pool]?.classes ?? [];
      models.set(name, await list({ name, entry, classes, model: found.main, before: before.get(name) }));
    } catch (error) {
      if (!isServiceError(error)) throw error;
      broken.add(error.message);
      const known = before.get(name);
      if (known) models.set(name, known);
    }
  }
  return { models, broken: [...broken], leftOut: [...leftOut] };
}

interface ToList {
  readonly name: string;
  readonly entry: ModelEntry;
  readonly classes: readonly string[];
  readonly model: Model;
  readonly before: Listed | undefined;
}

async function list({ name, entry, classes, model, before }: ToList): Promise<Listed> {
  if (before) await requireSameKind(name, before.model, model);
  const look = await lookOfVersion(model.directory);
  const description = entry.description ?? model.file.description;
  const facts = { name, version: model.version, pool: entry.pool, description, classes };
  if (before?.look === look && isSame(facts, before.listed)) return before;
  if (!isTextModel(model)) {
    return { listed: { ...facts, facts: model.file, tokenizer: undefined }, model, look, tokenizerId: undefined };
  }
  const id = await tokenizerId(model);
  const tokenizer = before?.tokenizerId === id ? before.listed.tokenizer : await createTokenizer(model);
  return { listed: { ...facts, facts: model.file, tokenizer }, model, look, tokenizerId: id };
}

function isSame(facts: Omit<PublicModel, 'facts' | 'tokenizer'>, listed: PublicModel): boolean {
  const { pool, description, classes } = listed;
  return facts.pool === pool && facts.description === description && facts.classes.join() === classes.join();
}

function publicOf(models: ListedModels): readonly PublicModel[] {
  return [...models.values()].map(({ listed }) => listed);
}

/** What of a file can be served on the pools of another: queues are declared when the gateway starts. */
function onPoolsOf({ pools }: ModelsFile, file: ModelsFile): ModelsFile {
  const models = Object.entries(file.models).filter(([, { pool }]) => pools[pool] !== undefined);
  return { ...file, pools, models: Object.fromEntries(models) };
}

/** What needs another start of the gateway. */
function poolChanges(first: ModelsFile, now: ModelsFile): readonly string[] {
  const names = new Set([first, now].flatMap(({ pools }) => Object.keys(pools)));
  return [...names].sort().flatMap((name) => {
    const [before, after] = [first, now].map(({ pools }) => pools[name]?.classes.toSorted().join(', '));
    if (before === after) return [];
    const what = `pools.${name}.classes in models.yaml ${after === undefined ? 'are gone' : `are now ${after}`}`;
    return [`${what}: that takes effect when the gateway is started again; models of a new pool wait for it.`];
  });
}
