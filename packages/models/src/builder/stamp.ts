import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Recipe } from './recipes.js';
import type { SourcePackage } from './sources.js';

const BUILDER = dirname(fileURLToPath(import.meta.url));

/**
 * Identifies what a model is built from: this builder's code, the version of the package with the weights, and the
 * reference values. Lower-case hexadecimal. A model whose stamp differs is built again.
 */
export async function stampOf(recipe: Recipe, source: SourcePackage): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([recipe.name, recipe.version, source.name, source.version]));
  for (const path of [...(await builderFiles()), referencePath(recipe.reference)]) hash.update(await readFile(path));
  return hash.digest('hex');
}

/** Absolute path of a file in this package's `reference/`. */
export function referencePath(file: string): string {
  return join(BUILDER, '../../reference', file);
}

async function builderFiles(): Promise<string[]> {
  const names = (await readdir(BUILDER)).filter((name) => /^[a-z0-9-]+\.(js|ts)$/.test(name));
  return names.sort().map((name) => join(BUILDER, name));
}
