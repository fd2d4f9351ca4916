import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { digestsFileSchema, inOwnWords, type DigestsFile } from '@sluice/contracts';
import type { Model } from './model.js';
import { unavailable } from './unavailable.js';

/** Name of the file, in a version folder, that lists the SHA-256 of the others. A model without one is not checked. */
export const DIGESTS_FILE = 'digests.json';

/** A version folder, and how it is named to people. */
export type VersionFolder = Pick<Model, 'name' | 'version' | 'directory'>;

/** SHA-256 of a file, lower-case hexadecimal. Rejects with the error of the file system. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

/**
 * SHA-256 of a file in a version folder, lower-case hexadecimal.
 *
 * @throws ServiceError `model_unavailable` when it cannot be read.
 */
export function digestIn({ name, version, directory }: VersionFolder, file: string): Promise<string> {
  return digestOf(join(directory, file)).catch((cause: unknown) => {
    throw unavailable(`${name}/${version}/${file} cannot be read`, cause);
  });
}

/**
 * Reads the digests of a version folder; undefined when it has none.
 *
 * @throws ServiceError `model_unavailable` when there are some that cannot be read or are not what they should be: they were
 *   copied half, say.
 */
export async function readDigests({ name, version, directory }: VersionFolder): Promise<DigestsFile | undefined> {
  const path = `${name}/${version}/${DIGESTS_FILE}`;
  const text = await readFile(join(directory, DIGESTS_FILE), 'utf8').catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unavailable(`${path} cannot be read`, cause);
  });
  return text === undefined ? undefined : parseDigests(path, text);
}

function parseDigests(path: string, text: string): DigestsFile {
  const parsed = digestsFileSchema.safeParse(parseJson(path, text), { error: inOwnWords });
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(file)'}: ${issue.message}`);
  throw unavailable(`${path} is not valid: ${problems.join('; ').slice(0, 1000)}`, parsed.error);
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unavailable(`${path} is not valid: it is not JSON, or only the beginning of it`, cause);
  }
}

/**
 * SHA-256 of a model's ONNX file, lower-case hexadecimal: as its folder lists it, else by reading the file.
 *
 * @throws ServiceError `model_unavailable` when neither can be read.
 */
export async function modelDigest(model: Model): Promise<string> {
  const file = basename(model.modelPath);
  return (await readDigests(model))?.files[file] ?? digestIn(model, file);
}

/**
 * Compares a file with its digest, where there is one.
 *
 * @throws ServiceError `model_unavailable` when they differ: the file was damaged or replaced; when one of them cannot be read.
 */
export async function checkDigest(model: VersionFolder, file: string): Promise<void> {
  await compareDigest(model, file, (await readDigests(model))?.files[file]);
}

/** `checkDigest` for every file that has a digest. */
export async function checkDigests(model: VersionFolder): Promise<void> {
  const { files = {} } = (await readDigests(model)) ?? {};
  for (const [file, expected] of Object.entries(files)) await compareDigest(model, file, expected);
}

async function compareDigest(model: VersionFolder, file: string, expected: string | undefined): Promise<void> {
  if (expected === undefined || expected === (await digestIn(model, file))) return;
  throw unavailable(`${model.name}/${model.version}/${file} does not match its digest in ${DIGESTS_FILE}`);
}
