import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ROOT } from '../src/paths.js';

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-bootstrap-'));
  await write('package.json', '{"type":"module"}');
  await write('package-lock.json', '{}');
  await write('scripts/dist/start.js', "process.stdout.write('handed over\\n');");
  await cp(join(ROOT, 'scripts/bootstrap.mjs'), join(root, 'scripts/bootstrap.mjs'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function write(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

/**
 * Runs the real bootstrap in a checkout of its own. Its npm is a program that notes how it was called and lays out
 * `installed`, since the real one would fetch packages.
 */
async function start(
  installed: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<{ code: number | null; output: string }> {
  await write(
    'npm.js',
    `import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
     appendFileSync('calls', process.argv.slice(2).join(' ') + '\\n');
     for (const file of ${JSON.stringify(installed)}) {
       mkdirSync('node_modules/' + file.split('/').slice(0, -1).join('/'), { recursive: true });
       writeFileSync('node_modules/' + file, '');
     }`,
  );
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/bootstrap.mjs', 'start'], {
    cwd: root,
    env: { ...process.env, NODE_ENV: 'production', npm_execpath: join(root, 'npm.js'), ...environment },
    encoding: 'utf8',
  });
  return { code: status, output: stdout + stderr };
}

async function npmCalls(): Promise<readonly string[]> {
  return (await readFile(join(root, 'calls'), 'utf8')).trimEnd().split('\n');
}

const TOOLS = ['turbo/bin/turbo', 'typescript/bin/tsc'];

describe('the bootstrap', () => {
  it('installs the tools of the build even where npm would leave them out, and only once', async () => {
    expect(await start(TOOLS)).toMatchObject({ code: 0, output: expect.stringContaining('handed over') });
    expect(await start(TOOLS)).toMatchObject({ code: 0 });
    expect(await npmCalls()).toEqual([expect.stringMatching(/^ci --include=dev --include=optional /)]);
  });

  it('fails and tries again next time when a tool is missing although npm ended well', async () => {
    const { code, output } = await start(['turbo/bin/turbo']);
    expect(code).toBe(1);
    expect(output).toContain('did not install typescript/bin/tsc');
    expect(existsSync(join(root, 'node_modules/.sluice-lock'))).toBe(false);
    expect(await start(TOOLS)).toMatchObject({ code: 0 });
    expect(await npmCalls()).toHaveLength(2);
  });

  it.each(['platform', 'arch'])('installs again where process.%s is another', async (property) => {
    await start(TOOLS);
    const elsewhere = `Object.defineProperty(process,"${property}",{value:"other"})`;
    await start(TOOLS, { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(elsewhere)}` });
    expect(await npmCalls()).toHaveLength(2);
  });

  it('installs again when a tool has disappeared since', async () => {
    await start(TOOLS);
    await rm(join(root, 'node_modules/typescript'), { recursive: true });
    await start(TOOLS);
    expect(await npmCalls()).toHaveLength(2);
  });
});
