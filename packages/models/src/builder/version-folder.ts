import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { isServiceError, modelFileSchema, type DigestsFile } from '@sluice/contracts';
import { checkDigests, DIGESTS_FILE, digestOf, readDigests, type VersionFolder } from '../digests.js';
import { DESCRIPTION_FILE, ONNX_FILE } from '../repository.js';
import type { ModelParts } from './recipes.js';

const BUILDING = '.building-';
const ABANDONED_AFTER_MS = 3_600_000;
const INSTALL_ATTEMPTS = 10;

/** Whether a version folder was built from what `stamp` identifies and every file in it is still intact. */
export async function isCurrent(folder: string, stamp: string): Promise<boolean> {
  const place: VersionFolder = { name: basename(dirname(folder)), version: basename(folder), directory: folder };
  try {
    if ((await readDigests(place))?.stamp !== stamp) return false;
    await checkDigests(place);
    return true;
  } catch (error) {
    if (!isServiceError(error)) throw error;
    return false;
  }
}

/** A new folder in the repository that readers never look at, on the same file system as the final one. */
export function makeWorkFolder(repository: string): Promise<string> {
  return mkdtemp(join(repository, BUILDING));
}

/** Removes work folders of builds that were killed. Those of the last hour may be alive and stay. */
export async function removeAbandoned(repository: string): Promise<void> {
  for (const name of await readdir(repository)) {
    if (!name.startsWith(BUILDING)) continue;
    const facts = await stat(join(repository, name)).catch(() => undefined);
    if (facts && Date.now() - facts.mtimeMs > ABANDONED_AFTER_MS) await rm(join(repository, name), FORCE);
  }
}

/** Writes the files of a version. The same parts and stamp give the same bytes. */
export async function writeVersion(folder: string, parts: ModelParts, stamp: string): Promise<void> {
  const description = stringify(modelFileSchema.parse(parts.description), { lineWidth: 0 });
  const files = { [ONNX_FILE]: parts.onnx, [DESCRIPTION_FILE]: Buffer.from(description), ...parts.files };
  await mkdir(folder, { recursive: true });
  const digests: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(files)) {
    await writeFile(join(folder, name), bytes);
    digests[name] = await digestOf(join(folder, name));
  }
  const list: DigestsFile = { stamp, files: digests };
  await writeFile(join(folder, DIGESTS_FILE), `${JSON.stringify(list, undefined, 2)}\n`);
}

/**
 * Moves a finished version folder to its place in one step, so that no reader ever sees half of it. When another
 * process was faster with the same stamp, its folder stays. A folder of another stamp is moved out of the way first.
 */
export async function installVersion(finished: string, place: string, stamp: string): Promise<void> {
  for (let attempt = 1; attempt <= INSTALL_ATTEMPTS; attempt++) {
    try {
      return await rename(finished, place);
    } catch (error) {
      if (!isOccupied(error)) throw error;
    }
    if (await isCurrent(place, stamp)) return;
    // The finished folder lies in a work folder, which the caller removes with all that is in it.
    await rename(place, `${finished}-replaced-${attempt}`).catch(ignoreMissing);
  }
  throw new Error(`${place} was replaced by others ${INSTALL_ATTEMPTS} times`);
}

const FORCE = { recursive: true, force: true } as const;

/** Removes a folder and what is in it. */
export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, FORCE);
}

function isOccupied(error: unknown): boolean {
  return ['ENOTEMPTY', 'EEXIST', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
