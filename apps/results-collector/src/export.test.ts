import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { exportFile } from './export.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-export-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('exportFile', () => {
  it('replaces a file by the next export of the same name', async () => {
    for (const text of ['first', 'second']) {
      const bytes = await exportFile(directory, 'rows', async (writable) => {
        writable.write(text);
        return text.length;
      });
      expect(bytes).toBe(text.length);
      expect(gunzipSync(await readFile(join(directory, 'rows.gz'))).toString()).toBe(text);
    }
    expect((await readdir(directory)).sort()).toEqual(['rows.gz', 'rows.gz.sha256']);
  });

  it('leaves nothing behind when the export fails, whoever destroys the stream', async () => {
    const failures = [
      async () => Promise.reject(new Error('away')),
      async (writable: { destroy(error: Error): void }) => {
        writable.destroy(new Error('away'));
        throw new Error('away');
      },
    ];
    for (const fail of failures) await expect(exportFile(directory, 'rows', fail)).rejects.toThrow('away');
    expect(await readdir(directory)).toEqual([]);
  });
});
