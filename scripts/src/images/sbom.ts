import { type LockedPackage, type LockedPackages, packageName } from './lock-file.js';

export interface SbomOptions {
  /** Of the image. */
  readonly name: string;
  readonly packages: LockedPackages;
  /** Folder of the workspace that the image is made for. */
  readonly workspace: string;
  /** Folders of all packages in the image. */
  readonly folders: readonly string[];
}

interface Component {
  readonly type: 'application' | 'library';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly { readonly expression: string }[];
  readonly hashes?: readonly { readonly alg: 'SHA-512'; readonly content: string }[];
}

/** A software bill of materials in CycloneDX 1.6: each package of the image once, with licence and digest of its archive. */
export interface Sbom {
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: '1.6';
  readonly version: 1;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
}

/** The same for the same lock file: it bears no time and no random number, so that an image can be reproduced. */
export function createSbom({ name, packages, workspace, folders }: SbomOptions): Sbom {
  const all = folders.filter((folder) => folder !== workspace).map((folder) => componentOf(folder, packages[folder]));
  const unique = new Map(all.map((component) => [component.purl, component]));
  const { version = '0.0.0', license } = packages[workspace] ?? {};
  const component = { type: 'application', ...described(`sluice/${name}`, version, license) } as const;
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component },
    components: [...unique.values()].sort((a, b) => (a.purl < b.purl ? -1 : 1)),
  };
}

function componentOf(folder: string, entry: LockedPackage = {}): Component {
  const { version = '0.0.0', license, integrity } = entry;
  const name = entry.name ?? packageName(folder);
  return { type: 'library', ...described(name, version, license), ...digestOf(integrity) };
}

function described(name: string, version: string, license: string | undefined): Omit<Component, 'type' | 'hashes'> {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  const licenses = license === undefined ? {} : { licenses: [{ expression: license }] };
  return { 'bom-ref': purl, name, version, purl, ...licenses };
}

function digestOf(integrity: string | undefined): Pick<Component, 'hashes'> {
  const [, digest] = /^sha512-(\S+)$/.exec(integrity ?? '') ?? [];
  if (digest === undefined) return {};
  return { hashes: [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }] };
}
