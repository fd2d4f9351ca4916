import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';

/** What a file of lines holds. */
export interface FinishedExport {
  readonly rows: number;
  /** Of the lines as they were before they were compressed, hex. */
  readonly sha256: string;
}

const LINE_FEED = 10;

/**
 * Reads what `exportFile` wrote into a directory under a name, whole. Undefined when it is not there or is not what its
 * `.sha256` says.
 */
export async function readFinishedExport(directory: string, name: string): Promise<FinishedExport | undefined> {
  const path = join(directory, `${name}.gz`);
  const packed = createHash('sha256');
  const content = createHash('sha256');
  let rows = 0;
  try {
    const sums = await readFile(`${path}.sha256`, 'utf8');
    await pipeline(createReadStream(path), tap(packed), createGunzip(), async (blocks: AsyncIterable<Buffer>) => {
      for await (const block of blocks) {
        content.update(block);
        for (const byte of block) if (byte === LINE_FEED) rows += 1;
      }
    });
    return sums.startsWith(`${packed.digest('hex')} `) ? { rows, sha256: content.digest('hex') } : undefined;
  } catch {
    // Missing, unreadable or damaged: it is written again.
    return undefined;
  }
}

/** Passes on what it hashes. */
function tap(hash: { update(block: Buffer): unknown }): Transform {
  return new Transform({
    transform(block: Buffer, _encoding, done) {
      hash.update(block);
      done(null, block);
    },
  });
}
