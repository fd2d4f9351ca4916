import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

/**
 * Writes `<name>.gz` and `<name>.gz.sha256` (as `sha256sum -c` reads it) into a directory, which is made when it is
 * missing. Resolves with what `write` does when both are on the disk whole; files of the same names are replaced. When it
 * fails nothing new is there.
 *
 * @param write is given what it is to write to, uncompressed; it must not end it.
 */
export async function exportFile<T>(
  directory: string,
  name: string,
  write: (writable: Writable) => Promise<T>,
): Promise<T> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const file = `${name}.gz`;
  const { result, sha256 } = await throughDraft(directory, file, (handle) => compress(handle, write));
  await throughDraft(directory, `${file}.sha256`, (handle) => handle.writeFile(`${sha256}  ${file}\n`));
  await syncDirectory(directory);
  return result;
}

/** Gives the file its name only when its content is on the disk: a crash leaves a draft, never half an export. */
async function throughDraft<T>(directory: string, file: string, fill: (handle: FileHandle) => Promise<T>): Promise<T> {
  const draft = join(directory, `.${file}.${randomUUID()}`);
  const handle = await open(draft, 'wx', 0o600);
  try {
    const result = await fill(handle);
    await handle.sync();
    await rename(draft, join(directory, file));
    return result;
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

async function compress<T>(
  handle: FileHandle,
  write: (writable: Writable) => Promise<T>,
): Promise<{ readonly result: T; readonly sha256: string }> {
  const hash = createHash('sha256');
  const gzip = createGzip();
  const written = pipeline(gzip, async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
  });
  try {
    const result = await write(gzip);
    gzip.end();
    await written;
    return { result, sha256: hash.digest('hex') };
  } catch (error) {
    gzip.destroy();
    await written.catch(() => undefined);
    throw error;
  }
}

/** So that the new names survive a crash, too. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  await handle.sync().finally(() => handle.close());
}
