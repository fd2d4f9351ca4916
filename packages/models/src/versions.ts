import { isServiceError, type ModelEntry } from '@sluice/contracts';
import { differences } from './compatibility.js';
import { isTextModel, type Model } from './model.js';
import { unavailable, type ModelRepository } from './repository.js';

/** The versions of a public model that its entry in `models.yaml` asks for. */
export interface ModelVersions {
  readonly main: Model;
  /** Absent when the entry has none, or when it is the main version at present. */
  readonly canary?: Model;
  /** Why versions greater than the one that `latest` came to were passed over, one sentence each. */
  readonly passedOver: readonly string[];
}

/**
 * Finds the versions of a public model, their files intact as far as there are digests. `latest` is the greatest version
 * folder that is complete, intact, and fit for jobs of those before it. The gateway and the workers both decide by this, so
 * they agree wherever they see the same files.
 *
 * @throws ServiceError `model_unavailable` when a version is missing or wrong, or when jobs of the main version could not run
 *   on another.
 */
export async function findVersions(
  repository: ModelRepository,
  name: string,
  entry: ModelEntry,
): Promise<ModelVersions> {
  const folder = entry.repository ?? name;
  const wanted = [entry, entry.canary].some((policy) => policy?.version === 'latest');
  const latest = wanted ? await findLatest(repository, folder) : undefined;
  const find = async (version: string): Promise<Model> =>
    version === 'latest' && latest ? latest.model : repository.findIntact(folder, version);

  const main = await find(entry.version);
  const passedOver = latest?.passedOver ?? [];
  const canary = entry.canary && (await find(entry.canary.version));
  if (!canary || canary.version === main.version) return { main, passedOver };
  await requireFit(name, main, canary);
  return { main, canary, passedOver };
}

/**
 * Finds the version that jobs of a public model are also run on, to compare; undefined when its entry has none, or when it is the
 * main version at present. n.b. not part of `findVersions`: the gateway has no use for it, and one that is wrong holds up nothing.
 *
 * @throws ServiceError `model_unavailable` when the version is missing or wrong, or when jobs of the main version could not run on it.
 */
export async function findShadow(
  repository: ModelRepository,
  name: string,
  { repository: folder = name, shadow }: ModelEntry,
  main: Model,
): Promise<Model | undefined> {
  if (!shadow) return undefined;
  if (!isTextModel(main)) throw unavailable(`${name} takes raw tensors, and only models of texts can have a shadow`);
  const { version } = shadow;
  const model =
    version === 'latest' ? (await findLatest(repository, folder)).model : await repository.findIntact(folder, version);
  if (model.version === main.version) return undefined;
  await requireFit(name, main, model);
  return model;
}

/**
 * Makes sure that jobs which were accepted for one version can run on another.
 *
 * @throws ServiceError `model_unavailable`, saying in what the versions differ.
 */
export async function requireFit(name: string, accepted: Model, other: Model): Promise<void> {
  const reasons = await differences(accepted, other);
  if (reasons.length === 0) return;
  throw unavailable(
    `${other.name}/${other.version} cannot take jobs of ${name} that were accepted for version ${accepted.version}: ` +
      `it ${reasons.join(', ')}; what differs in this needs a public name of its own`,
  );
}

interface Latest {
  readonly model: Model;
  readonly passedOver: readonly string[];
}

/** From the least version on, so that what one is compared with does not depend on which of them runs. */
async function findLatest(repository: ModelRepository, folder: string): Promise<Latest> {
  let model: Model | undefined;
  let passedOver: string[] = [];
  for (const version of await repository.versions(folder)) {
    try {
      const next = await repository.findIntact(folder, version);
      if (model) await requireFit(folder, model, next);
      model = next;
      passedOver = [];
    } catch (error) {
      if (!isServiceError(error)) throw error;
      passedOver.push(error.message);
    }
  }
  if (model) return { model, passedOver };
  throw unavailable(passedOver.join('; ') || `${folder} has no version in the model repository`);
}
