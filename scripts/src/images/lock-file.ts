import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** An entry of `packages` in package-lock.json, version 3; its key is the folder. */
export interface LockedPackage {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  /** Of a link: the folder of the workspace. */
  readonly resolved?: string;
  readonly link?: boolean;
  /** Whether npm may leave it out: nothing but optional dependencies leads to it. */
  readonly optional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

export type LockedPackages = Readonly<Record<string, LockedPackage>>;

export function readLockFile(root: string): LockedPackages {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: LockedPackages;
  };
  return packages;
}

/** The name of what is installed in a folder: `node_modules/a/node_modules/@b/c` is `@b/c`. */
export function packageName(folder: string): string {
  return folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
}

/**
 * Folders of everything that a workspace needs at run time, itself included, in order; a package of ours by its
 * workspace's folder. Development dependencies are not followed, nor what is in `without`; an optional dependency that
 * the lock file does not have is passed over.
 *
 * @throws Error naming a package that the lock file does not have.
 */
export function closureOf(packages: LockedPackages, workspace: string, without: readonly string[]): readonly string[] {
  const left = new Set(without);
  const found = new Set<string>();
  const open = [workspace];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    if (found.has(folder)) continue;
    found.add(folder);
    open.push(...needsOf(packages, folder, left));
  }
  return [...found].sort();
}

function needsOf(packages: LockedPackages, folder: string, left: ReadonlySet<string>): readonly string[] {
  const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = packages[folder] ?? {};
  const optional = Object.keys(optionalDependencies ?? {});
  const peers = Object.keys(peerDependencies ?? {}).filter((name) => peerDependenciesMeta?.[name]?.optional !== true);
  const names = [...Object.keys(dependencies ?? {}), ...optional, ...peers].filter((name) => !left.has(name));
  return names.flatMap((name) => {
    const at = resolveFrom(packages, folder, name);
    if (at !== undefined) return [at];
    if (optional.includes(name)) return [];
    throw new Error(`package-lock.json has no ${name}, which ${folder} needs.`);
  });
}

/** Where Node finds a package from a folder: in `node_modules` beside it or of a folder above; a link's target. */
function resolveFrom(packages: LockedPackages, folder: string, name: string): string | undefined {
  for (let from = folder; ; from = posix.dirname(from)) {
    const at = from === '.' ? `node_modules/${name}` : `${from}/node_modules/${name}`;
    const entry = packages[at];
    if (entry !== undefined) return entry.link === true ? entry.resolved : at;
    if (from === '.') return undefined;
  }
}
