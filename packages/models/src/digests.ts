import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ServiceError } from '@sluice/contracts';
import type { Model } from './model.js';

/** Name of the file, in a version folder, that lists the SHA-256 of the others. A model without one is not checked. */
export const DIGESTS_FILE = 'digests.json';

/** What `digests.json` holds. */
export interface Digests {
  /** Identifies what the files were built from. */
  readonly stamp: string;
  /** Lower-case hexadecimal SHA-256 by file name. */
  readonly files: Readonly<Record<string, string>>;
}

/** SHA-256 of a file, lower-case hexadecimal. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

/** Reads the digests of a version folder; undefined when there are none or they cannot be read. */
export async function readDigests(directory: string): Promise<Digests | undefined> {
  try {
    const digests = JSON.parse(await readFile(join(directory, DIGESTS_FILE), 'utf8')) as Partial<Digests>;
    return digests.stamp !== undefined && digests.files !== undefined ? (digests as Digests) : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256 of a model's ONNX file, lower-case hexadecimal: as its folder lists it, else by reading the file. */
export async function modelDigest(model: Model): Promise<string> {
  return (await readDigests(model.directory))?.files[basename(model.modelPath)] ?? digestOf(model.modelPath);
}

/**
 * Compares a file with its digest, where there is one.
 *
 * @throws ServiceError `model_unavailable` when they differ: the file was damaged or replaced.
 */
export async function checkDigest(model: Model, file: string): Promise<void> {
  const expected = (await readDigests(model.directory))?.files[file];
  if (expected === undefined || expected === (await digestOf(join(model.directory, file)))) return;
  throw new ServiceError(
    'model_unavailable',
    `${model.name}/${model.version}/${file} does not match its digest in ${DIGESTS_FILE}`,
  );
}
