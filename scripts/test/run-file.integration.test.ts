import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createRunFile, type RunFileContent } from '../src/run-file.js';

const CONTENT: RunFileContent = {
  pid: process.pid,
  startedAt: '2026-03-01T00:00:00.000Z',
  url: 'http://127.0.0.1:1',
  urls: ['http://127.0.0.1:1'],
  ops: {},
  demo: { tenantId: 'demo', key: 'k' },
  adminKey: 'a',
  servers: {},
  pids: { redis: 1 },
};

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-run-file-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('the run file', () => {
  it('says what is true at the last of several writes at once', async () => {
    let pid = 0;
    const file = createRunFile(directory, () => ({ ...CONTENT, pids: { redis: (pid += 1) } }));
    await Promise.all([file.write(), file.write(), file.write()]);
    expect(JSON.parse(await readFile(join(directory, 'run.json'), 'utf8'))).toMatchObject({ pids: { redis: 3 } });
    expect((await stat(file.path)).mode & 0o777).toBe(0o600);
  });

  it('is gone for good once removed, even when it is being written', async () => {
    const file = createRunFile(directory, () => CONTENT);
    await file.write();
    const late = file.write();
    await file.remove();
    await late;
    await file.write();
    expect(await readdir(directory)).toEqual([]);
  });

  it('leaves the file of another start that runs alone, and takes over that of one that ended', async () => {
    const usual = join(directory, 'run.json');
    await writeFile(usual, JSON.stringify({ pid: process.ppid }));
    expect(createRunFile(directory, () => CONTENT).path).toBe(join(directory, `run-${process.pid}.json`));
    for (const leftBehind of [JSON.stringify({ pid: 99_999_999 }), '']) {
      await writeFile(usual, leftBehind);
      expect(createRunFile(directory, () => CONTENT).path).toBe(usual);
    }
    expect(existsSync(usual)).toBe(true);
  });
});
