import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { modelFileSchema, nameSchema, type ModelFile, type TensorModelFile } from '@sluice/contracts';
import { ConfigError, parseConfig } from '@sluice/runtime';
import { checkDigests } from './digests.js';
import type { Model } from './model.js';
import { leastTokens } from './tensors/tensor-fit.js';
import { unavailable } from './unavailable.js';

/** Name of the ONNX file in a version folder. */
export const ONNX_FILE = 'model.onnx';
/** Name of the description in a version folder. */
export const DESCRIPTION_FILE = 'model.yaml';

const VERSION = /^[0-9]{1,9}$/;

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
  /**
   * `find`, and compares every file that `digests.json` lists with its digest, where there is such a list. The files are read again
   * only when one of the folder looks different.
   *
   * @throws ServiceError `model_unavailable`, naming the file that is missing, wrong, or cannot be read.
   */
  findIntact(name: string, version: string): Promise<Model>;
  /** Version folders of a model, least first; none when it has none. Nothing says that they can be used. */
  versions(name: string): Promise<readonly string[]>;
  /**
   * What the folders of these models look like from outside: names, sizes and times of their files. Another text means that
   * something has changed. Costs a call of `stat` for each file.
   */
  look(names: Iterable<string>): Promise<string>;
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
    throw unavailable('The model repository does not exist', new Error(root));
  }
  /** How the folders of intact versions looked. */
  const intact = new Map<string, string>();

  async function find(name: string, version: string): Promise<Model> {
    // n.b. both become parts of a path, so nothing but plain names may pass.
    if (!nameSchema.safeParse(name).success || !VERSION.test(version)) {
      throw unavailable(`"${name}" version "${version}" is not the name and version of a model`);
    }
    const label = `${name}/${version}`;
    const folder = join(root, name, version);
    const file = await readDescription(label, folder);
    if (file.name !== name) {
      throw unavailable(`${label}/${DESCRIPTION_FILE} describes "${file.name}", not "${name}"`);
    }
    checkLabels(label, file);
    if (file.task === 'tensors') checkRoom(label, file);
    for (const each of filesOf(file)) await requireFile(label, folder, each);
    return { file, directory: folder, modelPath: join(folder, ONNX_FILE), name, version } as Model;
  }

  return {
    directory: root,
    find,
    async findIntact(name, version) {
      const model = await find(name, version);
      const look = await lookOfVersion(model.directory);
      if (intact.get(model.directory) === look) return model;
      await checkDigests(model);
      intact.set(model.directory, look);
      return model;
    },
    versions: (name) => versionsIn(join(root, name)),
    async look(names) {
      const folders = [...new Set(names)].sort().map((name) => lookAt(join(root, name)));
      return (await Promise.all(folders)).join('\n');
    },
  };
}

/** What a version needs beside its description. */
function filesOf(file: ModelFile): readonly string[] {
  if (file.task === 'tensors' || file.tokenizer.type === 'bytes') return [ONNX_FILE];
  return [ONNX_FILE, file.tokenizer.vocabulary];
}

/** n.b. `07` and `7` would be one number, so only the plain form is a version that `latest` can mean. */
async function versionsIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  const plain = names.filter((name) => /^(?:0|[1-9][0-9]{0,8})$/.test(name));
  return plain.sort((a, b) => Number(a) - Number(b));
}

async function lookAt(folder: string): Promise<string> {
  const versions = await readdir(folder).catch(() => []);
  const looks = versions.filter((name) => VERSION.test(name)).map((version) => lookOfVersion(join(folder, version)));
  return (await Promise.all(looks)).join('\n');
}

/** One version folder as `ModelRepository.look` sees it. */
export async function lookOfVersion(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const looks = names.sort().map(async (name) => {
    const facts = await stat(join(folder, name)).catch(() => undefined);
    return facts ? `${name} ${facts.size} ${facts.mtimeMs} ${facts.ino}` : name;
  });
  return [folder, ...(await Promise.all(looks))].join('|');
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
function checkLabels(label: string, file: ModelFile): void {
  if (file.task !== 'text-classification') return;
  const { labels, output } = file;
  if (labels?.length === output.dimensions) return;
  throw unavailable(
    `${label}/${DESCRIPTION_FILE} has ${labels?.length ?? 0} labels for ${output.dimensions} output dimensions`,
  );
}

/** Caps that are below what the declared shapes come to would have every job refused. */
function checkRoom(label: string, file: TensorModelFile): void {
  const { elementsPerToken, maxInputTokens, maxOutputTokens } = file;
  const check = (cap: string, tokens: number, kind: 'inputs' | 'outputs'): void => {
    const least = leastTokens(elementsPerToken, file[kind]);
    if (tokens >= least) return;
    throw unavailable(
      `${label}/${DESCRIPTION_FILE} has ${cap} ${tokens}, but its ${kind} never have fewer than ${least}`,
    );
  };
  check('maxInputTokens', maxInputTokens, 'inputs');
  if (maxOutputTokens > 0) check('maxOutputTokens', maxOutputTokens, 'outputs');
}

async function requireFile(label: string, folder: string, file: string): Promise<void> {
  const facts = await stat(join(folder, file)).catch((cause: unknown) => {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw unavailable(`${label}/${file} ${isMissing ? 'is missing' : 'cannot be read'}`, cause);
  });
  if (!facts.isFile() || facts.size === 0) throw unavailable(`${label}/${file} is empty or not a file`);
}
