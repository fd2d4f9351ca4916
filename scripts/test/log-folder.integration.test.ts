import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openLogFolder } from '../src/log-folder.js';

/** Linux numbers processes below 2^22, macOS below 100,000. */
const NOBODY = 99_999_999;

let directory: string;

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'sluice-logs-')), 'logs');
});
afterEach(async () => {
  await rm(join(directory, '..'), { recursive: true, force: true });
});

describe('openLogFolder', () => {
  it('makes a folder of its own that only the owner can reach', async () => {
    const folder = await openLogFolder(directory, new Date('2026-03-01T10:20:30.456Z'));
    expect(basename(folder)).toBe(`2026-03-01T10-20-30-456Z-${process.pid}`);
    expect(await readdir(directory)).toEqual([basename(folder)]);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  it('keeps the newest five, and of the older ones only those of starts that run', async () => {
    const folders = [process.ppid, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY].map(
      (pid, day) => `2026-03-0${day + 1}T00-00-00-000Z-${pid}`,
    );
    for (const name of [...folders, 'mine']) await mkdir(join(directory, name), { recursive: true });
    await writeFile(join(directory, folders[1] ?? '', 'app.log'), 'text');
    const folder = await openLogFolder(directory, new Date('2026-03-09T00:00:00Z'));
    expect((await readdir(directory)).sort()).toEqual([folders[0], ...folders.slice(3), basename(folder), 'mine']);
  });
});
