import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface ModelDirectoryOptions {
  /** The real model repository; its files are linked to. */
  readonly from: string;
  /** Model whose copy can produce output, as no model of the repository does. */
  readonly model: string;
  /** Most output tokens of a text. */
  readonly maxOutputTokens: number;
}

/** The description, and the digests, which are of the original. */
const CHANGED = ['model.yaml', 'digests.json'];

/** A model repository for the gateway in which one model may produce output. The caller removes it. */
export async function createModelDirectory({ from, model, maxOutputTokens }: ModelDirectoryOptions): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-models-'));
  for (const name of await readdir(from)) {
    if (name !== model) await symlink(join(from, name), join(directory, name));
  }
  const [source, target] = [join(from, model, '1'), join(directory, model, '1')];
  await mkdir(target, { recursive: true });
  for (const file of await readdir(source)) {
    if (!CHANGED.includes(file)) await symlink(join(source, file), join(target, file));
  }
  const description = await readFile(join(source, 'model.yaml'), 'utf8');
  const changed = description.replace(/^maxOutputTokens: .*$/m, `maxOutputTokens: ${maxOutputTokens}`);
  await writeFile(join(target, 'model.yaml'), changed);
  return directory;
}
