import { isServiceError, type ModelEntry } from '@sluice/contracts';
import { differences } from './compatibility.js';
import { isTextModel, type Model } from './model.js';
import type { ModelRepository } from './repository.js';
import { createTokenizer } from './tokenizer.js';
import { unavailable } from './unavailable.js';

/** The versions of a public model that its entry in `models.yaml` asks for. */
export interface ModelVersions {
  readonly main: Model;
  readonly canary: SideVersion;
  /** What is wrong, one sentence each: with the canary, and with versions greater than the one that `latest` came to. */
  readonly problems: readonly string[];
}

/** A version beside the main one. Nothing that is wrong with it is a reason not to serve the main version. */
export interface SideVersion {
  /** Absent when none is asked for, when it is the main version at present, or when it cannot be used. */
  readonly model?: Model;
  /** Whether it cannot be used. */
  readonly isWrong: boolean;
  /** Why it cannot be used, or why greater versions than the one that `latest` came to were passed over; one sentence each. */
  readonly problems: readonly string[];
}

/**
 * Finds the versions of a public model, their files intact as far as there are digests. `latest` is the greatest version
 * folder that is complete, intact, and fit for jobs of those before it. The gateway and the workers both decide by this, so
 * they agree wherever they see the same files.
 *
 * @throws ServiceError `model_unavailable` when the main version is missing or wrong.
 */
export async function findVersions(
  repository: ModelRepository,
  name: string,
  entry: ModelEntry,
): Promise<ModelVersions> {
  const { model: main, passedOver } = await findVersion(repository, entry.repository ?? name, entry.version);
  const canary = await findBeside({ repository, name, entry, main }, 'canary');
  return { main, canary, problems: [...new Set([...passedOver, ...canary.problems])] };
}

/**
 * Finds the version that jobs of a public model are also run on, to compare. n.b. not part of `findVersions`: the gateway has
 * no use for it.
 */
export async function findShadow(
  repository: ModelRepository,
  name: string,
  entry: ModelEntry,
  main: Model,
): Promise<SideVersion> {
  return findBeside({ repository, name, entry, main }, 'shadow');
}

/** Where a version beside the main one is looked for. */
interface Place {
  readonly repository: ModelRepository;
  /** Public name. */
  readonly name: string;
  readonly entry: ModelEntry;
  readonly main: Model;
}

async function findBeside(place: Place, role: 'canary' | 'shadow'): Promise<SideVersion> {
  const { repository, name, entry, main } = place;
  const version = entry[role]?.version;
  if (version === undefined) return { isWrong: false, problems: [] };
  try {
    if (role === 'shadow' && !isTextModel(main)) throw unavailable('only models of texts can have one');
    const { model, passedOver: problems } = await findVersion(repository, entry.repository ?? name, version);
    if (model.version === main.version) return { isWrong: false, problems };
    await requireFit(name, main, model);
    return { model, isWrong: false, problems };
  } catch (error) {
    if (!isServiceError(error)) throw error;
    return { isWrong: true, problems: [`The ${role} of ${name} cannot be used: ${error.message}`] };
  }
}

async function findVersion(repository: ModelRepository, folder: string, version: string): Promise<Found> {
  if (version === 'latest') return findLatest(repository, folder);
  return { model: await repository.findIntact(folder, version), passedOver: [] };
}

/**
 * Makes sure that jobs which were accepted for one version can run on another.
 *
 * @throws ServiceError `model_unavailable`, saying in what the versions differ.
 */
async function requireFit(name: string, accepted: Model, other: Model): Promise<void> {
  const reasons = await differences(accepted, other);
  if (reasons.length === 0) return;
  throw unavailable(
    `${other.name}/${other.version} cannot take jobs of ${name} that were accepted for version ${accepted.version}: ` +
      `it ${reasons.join(', ')}; what differs in this needs a public name of its own`,
  );
}

interface Found {
  readonly model: Model;
  /** Why greater versions are not meant by `latest`. */
  readonly passedOver: readonly string[];
}

/**
 * From the least version on, so that what one is compared with does not depend on which of them runs. n.b. a version whose tokenizer
 * cannot be made must not be what others are compared with: it would keep all that follow from being used.
 */
async function findLatest(repository: ModelRepository, folder: string): Promise<Found> {
  let model: Model | undefined;
  let passedOver: string[] = [];
  for (const version of await repository.versions(folder)) {
    try {
      const next = await repository.findIntact(folder, version);
      if (isTextModel(next)) await createTokenizer(next);
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
