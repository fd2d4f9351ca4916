import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { idOf, type KubeObject } from './objects.js';

/** What the manifests were rendered from, so that a change of either side is seen without Helm. */
export interface Lock {
  /** Version of the Helm that rendered, and of Kubernetes that it rendered for. */
  readonly helm: string;
  readonly kubernetes: string;
  /** SHA-256 of everything in the chart that rendering reads. */
  readonly chart: string;
  /** SHA-256 of what each overlay, and the base, come to. */
  readonly objects: Readonly<Record<string, string>>;
  /** SHA-256 of each file of manifests/. */
  readonly files: Readonly<Record<string, string>>;
}

/** Folders and files of the chart that nothing is rendered from. */
const NOT_RENDERED = /^(?:tests\/|README\.md$|\.helmignore$)/;

/** A digest of the files that rendering reads. @param folder of the chart */
export async function chartDigest(folder: string): Promise<string> {
  const files = Object.entries(await readFolder(folder)).filter(([path]) => !NOT_RENDERED.test(path));
  return sha256(JSON.stringify(files));
}

/** A digest of objects, whatever their order and that of their fields. */
export function objectsDigest(objects: readonly KubeObject[]): string {
  const sorted = [...objects].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  return sha256(JSON.stringify(sorted, (_key, value: unknown) => (isFields(value) ? inOrder(value) : value)));
}

/** Digests of texts by path. */
export function fileDigests(files: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [path, sha256(text)]));
}

/** The texts in a folder by their path in it, with `/` and in the order of the paths; line ends as on Unix. */
export async function readFolder(folder: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const texts = await Promise.all(
    paths.map(async (path) => {
      const text = (await readFile(path, 'utf8')).replaceAll('\r\n', '\n');
      return [relative(folder, path).split(sep).join('/'), text] as const;
    }),
  );
  return Object.fromEntries(texts.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function inOrder(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}
