import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { modelFileSchema, nameSchema, ServiceError, type ModelFile } from '@sluice/contracts';
import { ConfigError, parseConfig } from '@sluice/runtime';
import type { Model } from './model.js';

/** Name of the ONNX file in a version folder. */
export const ONNX_FILE = 'model.onnx';
/** Name of the description in a version folder. */
export const DESCRIPTION_FILE = 'model.yaml';

/** A folder of models: `<name>/<version>/` with `model.onnx`, `model.yaml` and the tokenizer's files. */
export interface ModelRepository {
  /** Absolute path. */
  readonly directory: string;
  /**
   * Finds one version and checks its description and that its files are there. Reads the disk at every call, so a
   * version added later is found.
   *
   * @throws ServiceError `model_unavailable`, naming the file that is missing or wrong.
   */
  find(name: string, version: string): Promise<Model>;
}

/**
 * Opens a model repository.
 *
 * @throws ServiceError `model_unavailable` when the folder does not exist.
 */
export async function openModelRepository(directory: string): Promise<ModelRepository> {
  const root = resolve(directory);
  const facts = await stat(root).catch(() => undefined);
  if (!facts?.isDirectory()) {
    throw new ServiceError('model_unavailable', 'The model repository does not exist', { cause: new Error(root) });
  }
  return {
    directory: root,
    async find(name, version) {
      // n.b. both become parts of a path, so nothing but plain names may pass.
      if (!nameSchema.safeParse(name).success || !/^[0-9]{1,9}$/.test(version)) {
        throw unavailable(`"${name}" version "${version}" is not the name and version of a model`);
      }
      const label = `${name}/${version}`;
      const folder = join(root, name, version);
      const file = await readDescription(label, folder);
      if (file.name !== name) {
        throw unavailable(`${label}/${DESCRIPTION_FILE} describes "${file.name}", not "${name}"`);
      }
      checkLabels(label, file);
      const needed = [ONNX_FILE, ...(file.tokenizer.type === 'unigram' ? [file.tokenizer.vocabulary] : [])];
      for (const each of needed) await requireFile(label, folder, each);
      return { file, directory: folder, modelPath: join(folder, ONNX_FILE), name, version };
    },
  };
}

async function readDescription(label: string, folder: string): Promise<ModelFile> {
  const path = `${label}/${DESCRIPTION_FILE}`;
  const text = await readFile(join(folder, DESCRIPTION_FILE), 'utf8').catch((cause: unknown) => {
    throw unavailable(`${path} cannot be read`, cause);
  });
  try {
    return parseConfig({ path, text, schema: modelFileSchema, environment: {} });
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw unavailable(`${path} is not valid: ${cause.problems.join('; ').slice(0, 1000)}`, cause);
  }
}

/** A classifier must name each column of its output. */
function checkLabels(label: string, { task, labels, output }: ModelFile): void {
  if (task !== 'text-classification') return;
  if (labels?.length === output.dimensions) return;
  throw unavailable(
    `${label}/${DESCRIPTION_FILE} has ${labels?.length ?? 0} labels for ${output.dimensions} output dimensions`,
  );
}

async function requireFile(label: string, folder: string, file: string): Promise<void> {
  const facts = await stat(join(folder, file)).catch((cause: unknown) => {
    throw unavailable(`${label}/${file} is missing`, cause);
  });
  if (!facts.isFile() || facts.size === 0) throw unavailable(`${label}/${file} is empty or not a file`);
}

function unavailable(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('model_unavailable', detail, { cause });
}
