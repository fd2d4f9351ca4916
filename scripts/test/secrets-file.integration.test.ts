import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadSecrets } from '../src/secrets-file.js';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-secrets-'));
  path = join(directory, 'new', 'secrets.json');
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('loadSecrets', () => {
  it('gives starts that make the file at the same time the same secrets, and later ones too', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => loadSecrets(path)));
    const later = await loadSecrets(path);
    expect(later.pepper).toMatch(/^[0-9a-f]{64}$/);
    expect(all).toEqual(all.map(() => later));
  });

  it('leaves one file, which only its owner can read', async () => {
    await Promise.all(Array.from({ length: 5 }, () => loadSecrets(path)));
    expect(await readdir(join(directory, 'new'))).toEqual(['secrets.json']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it.each(['', '{', '{}', '{"pepper":"","adminKey":"a"}'])('names the file when it holds %p', async (content) => {
    path = join(directory, 'secrets.json');
    await writeFile(path, content);
    await expect(loadSecrets(path)).rejects.toThrow(path);
  });

  it('names the file when it cannot be written', async () => {
    await writeFile(join(directory, 'file'), '');
    path = join(directory, 'file', 'secrets.json');
    await expect(loadSecrets(path)).rejects.toThrow(path.slice(0, -'/secrets.json'.length));
  });
});
