import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { newSecrets, type SuiteSecrets } from './suite.js';

const schema = z.object({ pepper: z.string().min(1), adminKey: z.string().min(1) });

/**
 * The secrets in the file at `path`, made by the first start that needs them. They outlive a start, so that keys handed
 * out before still work.
 *
 * @throws Error naming the file when it cannot be written or read, or does not hold secrets.
 */
export async function loadSecrets(path: string): Promise<SuiteSecrets> {
  const content = await read(path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    await create(path);
    return read(path);
  });
  try {
    return schema.parse(JSON.parse(content));
  } catch (error) {
    throw new Error(
      `${path} does not hold the secrets of a start. Remove it to have new ones made; API keys handed out before then no longer work.`,
      { cause: error },
    );
  }
}

/** n.b. errors of Node already name the file. */
function read(path: string): Promise<string> {
  return readFile(path, 'utf8');
}

/** The file appears with its whole content, and only once: of two starts that make it at the same time, one wins. */
async function create(path: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(draft, JSON.stringify(newSecrets()), { mode: 0o600, flush: true });
    await link(draft, path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new Error(`${path} cannot be written: ${message}`, { cause: error });
  } finally {
    await rm(draft, { force: true });
  }
}
