import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, closeClient, createTenant } from '../src/client.js';
import { assembleImage } from '../src/images/assembly.js';
import { IMAGES, type ImageName } from '../src/images/images.js';
import type { Sbom } from '../src/images/sbom.js';
import { CONFIG_DIR, MODEL_DIR, ROOT } from '../src/paths.js';
import { newSecrets } from '../src/suite.js';
import { programOf, readStages } from './dockerfile.js';
import { isolate, type Isolated } from './isolated-suite.js';

const NAMES = Object.keys(IMAGES) as ImageName[];
const USER = 65_532;
const stages = readStages();
const secrets = newSecrets();
const running: ChildProcess[] = [];
let isolated: Isolated;
let root: string;

beforeAll(async () => {
  isolated = await isolate();
  root = await mkdtemp(join(tmpdir(), 'sluice-images-'));
  await chmod(root, 0o755);
  for (const image of NAMES) {
    await assembleImage({ root: ROOT, image, target: join(root, image), architecture: hostArchitecture() });
  }
});
afterAll(async () => {
  for (const child of running.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await closeClient();
  await isolated.close();
  await rm(root, { recursive: true, force: true });
});

function hostArchitecture(): 'amd64' | 'arm64' {
  return process.arch === 'arm64' ? 'arm64' : 'amd64';
}

/**
 * Starts the target's command as its container would: from the image's files alone, with the variables that the
 * Dockerfile sets, as its user when this test may choose one. To that user nothing but the temporary folder is writable.
 */
function run(target: ImageName): ChildProcess {
  const { command, environment } = programOf(stages, target);
  const [node, path = '', ...args] = command;
  expect(node).toBe('node');
  const folder = join(root, target);
  const child = fork(join(folder, path), args, {
    cwd: folder,
    env: {
      ...environment,
      ...isolated.environment,
      SLUICE_CONFIG_DIR: CONFIG_DIR,
      SLUICE_MODEL_DIR: MODEL_DIR,
      SLUICE_CALIBRATION: 'off',
      SLUICE_HOST: '127.0.0.1',
      SLUICE_PORT: '0',
      SLUICE_OPS_HOST: '127.0.0.1',
      SLUICE_OPS_PORT: '0',
      SLUICE_API_KEY_PEPPER: secrets.pepper,
      SLUICE_ADMIN_KEY: secrets.adminKey,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    ...(process.getuid?.() === 0 && { uid: USER, gid: USER }),
  });
  running.push(child);
  return child;
}

/** Starts an app and waits until it works. @throws Error with what it wrote when it ends before. */
async function serve(target: ImageName): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = run(target);
  const streams = [child.stdout, child.stderr].filter((stream) => stream !== null);
  const written = Promise.all(streams.map((stream) => text(stream)));
  const ended = once(child, 'exit').then(async () => {
    throw new Error(`${target} ended: ${(await written).join('')}`);
  });
  const ready = once(child, 'message') as Promise<[{ readonly port?: number }]>;
  ended.catch(() => undefined); // at the end of the test it is meant to end
  const [{ port = 0 }] = await Promise.race([ready, ended]);
  return { child, port };
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}

describe('the files of the images', () => {
  it('run the suite by themselves: a job is accepted, run and billed', async () => {
    const migration = run('migrate');
    expect(await once(migration, 'exit')).toEqual([0, null]);
    await serve('results-collector');
    const worker = await serve('ml-worker');
    const gateway = await serve('api-gateway');
    const suite = { url: `http://127.0.0.1:${gateway.port}`, adminKey: secrets.adminKey };
    const { key } = await createTenant(suite, { tenantId: 'images', plan: 'demo' });
    const submitted = await call<{ id: string }>(suite.url, '/v1/jobs', {
      method: 'POST',
      key,
      body: { model: 'use-lite-en', input: 'a text for the worker' },
    });
    const job = await call<{ state: string; usage: { inputTokens: number } }>(
      suite.url,
      `/v1/jobs/${submitted.body.id}?wait=30`,
      { key },
    );
    expect(job.body).toMatchObject({ state: 'succeeded', usage: { inputTokens: 6 } });
    const { rows } = await isolated.database.query('SELECT count(*)::int AS entries FROM ledger WHERE job_id = $1', [
      submitted.body.id,
    ]);
    expect(rows).toEqual([{ entries: 2 }]); // reserve and terminal entry
    worker.child.kill('SIGTERM');
    expect(await once(worker.child, 'exit')).toEqual([0, null]);
  });

  it.each(NAMES)('of %s name exactly what is in them', async (image) => {
    const sbom = JSON.parse(await readFile(join(root, image, 'sbom.cdx.json'), 'utf8')) as Sbom;
    const manifests = (await filesBelow(join(root, image))).filter((path) =>
      /(node_modules\/(@[^/]+\/)?[^/@]+|^(apps|packages)\/[^/]+|^scripts)\/package\.json$/.test(path),
    );
    const own = join(IMAGES[image].workspace, 'package.json');
    const present = manifests.filter((path) => path !== own && !path.includes('node_modules/@sluice/'));
    const found = await Promise.all(
      present.map(async (path) => {
        const { name, version } = JSON.parse(await readFile(join(root, image, path), 'utf8')) as Record<string, string>;
        return `${name}@${version}`;
      }),
    );
    expect(sbom.components.map(({ name, version }) => `${name}@${version}`).sort()).toEqual([...new Set(found)].sort());
    expect(sbom.components.length).toBeGreaterThan(10);
  });

  it.each(NAMES)('of %s are no sources, tests, tools or native code of other systems', async (image) => {
    const files = await filesBelow(join(root, image));
    const ours = files.filter((path) => !/node_modules\/(?!@sluice)/.test(path));
    expect(ours.filter((path) => /\.ts$|\.map$|(^|\/)(test|src)\//.test(path))).toEqual([]);
    expect(files.filter((path) => /(^|\/)node_modules\/(typescript|jest|eslint|turbo)\//.test(path))).toEqual([]);
    const native = files.filter((path) => /\.(node|so(\.\d+)?|dll|dylib)$/.test(path));
    const folder = `node_modules/onnxruntime-node/bin/napi-v6/linux/${process.arch}`;
    const worker = [`${folder}/libonnxruntime.so.1`, `${folder}/onnxruntime_binding.node`];
    expect(native).toEqual(image === 'ml-worker' ? worker : []);
  });
});

it('an image lacks nothing that it needs: what is not installed is named, but for what npm may leave out', async () => {
  const checkout = join(root, 'checkout');
  await mkdir(join(checkout, 'node_modules', 'here'), { recursive: true });
  const packages = {
    'apps/results-collector': { dependencies: { here: '1', gone: '1' }, optionalDependencies: { elsewhere: '1' } },
    ...{ 'node_modules/here': {}, 'node_modules/gone': {}, 'node_modules/elsewhere': { optional: true } },
  };
  await writeFile(join(checkout, 'package-lock.json'), JSON.stringify({ packages }));
  const target = join(root, 'lacking');
  const assembled = assembleImage({ root: checkout, image: 'results-collector', target, architecture: 'amd64' });
  await expect(assembled).rejects.toThrow('Not installed: node_modules/gone. Run npm ci.');
});

describe('the Dockerfile', () => {
  const programs = NAMES.map((image) => ({ image, ...programOf(stages, image) }));

  it('has a target for each image, which copies its files and runs a program among them', async () => {
    for (const { image, files, command } of programs) {
      expect({ image, files }).toEqual({ image, files: image });
      expect({ image, runs: existsSync(join(root, image, command[1] ?? '')) }).toEqual({ image, runs: true });
    }
    expect(programOf(stages, 'ml-worker-cuda')).toMatchObject({ files: 'ml-worker' });
  });

  it('runs everything as one user without rights, who owns nothing', async () => {
    const targets = [...NAMES, 'models', 'ml-worker-cuda'];
    expect(targets.map((target) => programOf(stages, target).user)).toEqual(targets.map(() => `${USER}:${USER}`));
    expect(await readFile(join(ROOT, 'Dockerfile'), 'utf8')).not.toContain('--chown');
  });

  it('names only paths that exist', async () => {
    const context = [...stages.values()].flatMap(({ instructions }) => instructions);
    const copied = context
      .filter(([instruction, argument]) => instruction === 'COPY' && !argument.startsWith('--from'))
      .flatMap(([, argument]) => argument.split(' ').slice(0, -1));
    expect(copied).toContain('.');
    await Promise.all(copied.map((path) => stat(join(ROOT, path))));
  });
});
