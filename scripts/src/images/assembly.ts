import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { IMAGES, type Image, type ImageName } from './images.js';
import { closureOf, type LockedPackages, readLockFile } from './lock-file.js';
import { createSbom } from './sbom.js';

/** Docker's names of processor architectures, and Node's. */
const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' } as const;
export type Architecture = keyof typeof ARCHITECTURES;

export interface AssemblyOptions {
  /** The checkout, installed and built. */
  readonly root: string;
  readonly image: ImageName;
  /** Made, and expected to be empty. */
  readonly target: string;
  readonly architecture: Architecture;
}

export function isArchitecture(name: string): name is Architecture {
  return Object.hasOwn(ARCHITECTURES, name);
}

/**
 * Writes the files of an image into a folder, laid out as the checkout is: the compiled workspaces, what they need from
 * `node_modules` as npm installed it, and `sbom.cdx.json`. Declarations, source maps, sources, tests and native code
 * of other systems stay behind.
 *
 * @throws Error naming packages that the image needs and that are not installed.
 */
export async function assembleImage({ root, image, target, architecture }: AssemblyOptions): Promise<void> {
  const { workspace, without, files }: Image = IMAGES[image];
  const packages = readLockFile(root);
  const closure = closureOf(packages, workspace, without);
  const installed = installedOf(root, packages, closure);
  const workspaces = closure.filter((folder) => !folder.includes('node_modules/'));
  for (const folder of installed) await copyPackage(join(root, folder), join(target, folder), architecture);
  for (const folder of workspaces) await copyWorkspace(root, folder, target, folder === workspace ? files : undefined);
  for (const file of ['LICENSE', 'NOTICE']) await cp(join(root, file), join(target, file));
  const sbom = createSbom({ name: image, packages, workspace, folders: [...installed, ...workspaces] });
  await writeFile(join(target, 'sbom.cdx.json'), `${JSON.stringify(sbom, null, 2)}\n`);
}

/** n.b. npm leaves out what is optional and made for another system, or could not be installed. */
function installedOf(root: string, packages: LockedPackages, closure: readonly string[]): readonly string[] {
  const outside = closure.filter((folder) => folder.includes('node_modules/'));
  const missing = outside.filter((folder) => !existsSync(join(root, folder)));
  const needed = missing.filter((folder) => packages[folder]?.optional !== true);
  if (needed.length > 0) throw new Error(`Not installed: ${needed.join(', ')}. Run npm ci.`);
  return outside.filter((folder) => !missing.includes(folder));
}

async function copyPackage(from: string, to: string, architecture: Architecture): Promise<void> {
  await cp(from, to, {
    recursive: true,
    filter: (path) => {
      const inside = relative(from, path);
      return isOfUse(inside) && isForSystem(inside, architecture);
    },
  });
}

/** A package within it is in the closure by itself, if anything needs it. */
function isOfUse(path: string): boolean {
  return !path.split(sep).includes('node_modules') && !/\.(map|d\.[cm]?ts)$/.test(path);
}

/** n.b. onnxruntime-node carries its native code for every system: 270 MB, of which one needs 46. */
function isForSystem(path: string, architecture: Architecture): boolean {
  const [bin, , system, processor] = path.split(sep);
  if (bin !== 'bin' || system === undefined || !['linux', 'darwin', 'win32'].includes(system)) return true;
  return system === 'linux' && (processor === undefined || processor === ARCHITECTURES[architecture]);
}

async function copyWorkspace(
  root: string,
  folder: string,
  target: string,
  only: readonly string[] | undefined,
): Promise<void> {
  const manifest = await readFile(join(root, folder, 'package.json'), 'utf8');
  const { name, files = ['dist'] } = JSON.parse(manifest) as { readonly name: string; readonly files?: string[] };
  await mkdir(join(target, folder), { recursive: true });
  await writeFile(join(target, folder, 'package.json'), manifest);
  for (const part of files) {
    const from = join(root, folder, part);
    await cp(from, join(target, folder, part), {
      recursive: true,
      filter: (path) => isOfUse(relative(from, path)) && (path === from || (only?.includes(basename(path)) ?? true)),
    });
  }
  const link = join(target, 'node_modules', name);
  await mkdir(dirname(link), { recursive: true });
  await symlink(relative(dirname(link), join(target, folder)), link);
}
