import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { testServices } from '@sluice/local-services';
import { closeClient, createTenant } from '../src/client.js';
import { docBlocks, pageScript, type DocBlock } from '../src/doc-blocks.js';
import { ROOT } from '../src/paths.js';
import type { RunFileContent } from '../src/run-file.js';
import { isolate, type Isolated } from './isolated-suite.js';

const DOCS = join(ROOT, 'docs');
const PAGE_DEADLINE_MS = 90_000;

let isolated: Isolated;
/** A folder as a reader has it beside a running `npm start`: the repository, and `.local/run.json`. */
let folder: string;

beforeAll(async () => {
  isolated = await isolate();
  const suite = await isolated.start();
  const demo = await createTenant(suite, { tenantId: 'demo', plan: 'demo' });
  const { rabbitmqManagementUrl } = testServices();
  const run: RunFileContent = {
    pid: process.pid,
    startedAt: new Date().toISOString(),
    url: suite.url,
    urls: suite.urls,
    ops: suite.ops,
    demo,
    adminKey: suite.adminKey,
    servers: { ...isolated.environment, SLUICE_RABBITMQ_MANAGEMENT_URL: rabbitmqManagementUrl },
    pids: suite.pids,
  };
  folder = await mkdtemp(join(tmpdir(), 'sluice-docs-'));
  await mkdir(join(folder, '.local'));
  await writeFile(join(folder, '.local', 'run.json'), JSON.stringify(run));
  const entries = (await readdir(ROOT)).filter((name) => !name.startsWith('.'));
  await Promise.all(entries.map((name) => symlink(join(ROOT, name), join(folder, name))));
});
afterAll(async () => {
  await closeClient();
  await isolated.close();
  await rm(folder, { recursive: true, force: true });
});

async function pages(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const found = entries.map(async (entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return entry.name === 'decisions' ? [] : pages(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
  return (await Promise.all(found)).flat().sort();
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs the page's commands as its reader would; what they printed when one of them fails, else nothing. */
async function failureOf(blocks: readonly DocBlock[]): Promise<string | undefined> {
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_'));
  const child = spawn('bash', ['-c', pageScript(blocks, isInstalled)], {
    cwd: folder,
    env: Object.fromEntries(environment),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PAGE_DEADLINE_MS,
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  return code === 0 ? undefined : `ended with ${String(code)}:\n${printed.slice(-4_000)}`;
}

describe('the docs', () => {
  it('have only commands that work beside a running suite', async () => {
    const failures: string[] = [];
    let commands = 0;
    for (const path of await pages(DOCS)) {
      const blocks = docBlocks(await readFile(path, 'utf8'));
      commands += blocks.filter(({ kind }) => kind === 'run').length;
      const failure = await failureOf(blocks);
      if (failure !== undefined) failures.push(`${relative(ROOT, path)} ${failure}`);
    }
    expect(failures).toEqual([]);
    expect(commands).toBeGreaterThan(0);
  }, 600_000);

  it('have only SQL that the present schema answers, and that changes nothing', async () => {
    const failures: string[] = [];
    for (const path of await pages(DOCS)) {
      for (const { kind, text, line } of docBlocks(await readFile(path, 'utf8'))) {
        if (kind !== 'sql') continue;
        await isolated.database.query('BEGIN READ ONLY');
        await isolated.database.query(text).catch((error: unknown) => {
          failures.push(`${relative(ROOT, path)}:${line} ${String(error)}`);
        });
        await isolated.database.query('ROLLBACK');
      }
    }
    expect(failures).toEqual([]);
  });
});
