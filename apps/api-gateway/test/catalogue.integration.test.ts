import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { delay } from '@sluice/runtime';
import { createFixture, createTenant, send, type Fixture, type Gateway } from './gateway-fixture.js';

const MODEL = 'guesslang';

let fixture: Fixture;
let gateway: Gateway;
let key: string;
let modelDir: string;
let modelsYaml: string;
let original: string;

beforeAll(async () => {
  fixture = await createFixture();
  modelDir = await mkdtemp(join(tmpdir(), 'sluice-models-'));
  for (const name of ['use-lite-en', 'use-lite-en-int8']) {
    await symlink(join(fixture.environment['SLUICE_MODEL_DIR'] ?? '', name), join(modelDir, name));
  }
  await putVersion('1');
  modelsYaml = join(fixture.environment['SLUICE_CONFIG_DIR'] ?? '', 'models.yaml');
  original = (await readFile(modelsYaml, 'utf8')).replace(/(guesslang:\n.*\n.*version: )'1'/, '$1latest');
  await writeFile(modelsYaml, original);
  gateway = await fixture.startGateway({ SLUICE_MODEL_POLL: '20ms', SLUICE_MODEL_DIR: modelDir });
  key = await createTenant(gateway.url, 'acme');
}, 120_000);

beforeEach(() => writeFile(modelsYaml, original));

afterAll(async () => {
  await fixture.close();
  await rm(modelDir, { recursive: true });
});

/** Puts a copy of the model into the repository, in one step. */
async function putVersion(version: string, change: (description: string) => string = (same) => same): Promise<void> {
  const work = join(modelDir, `.new-${version}`);
  await cp(join(fixture.environment['SLUICE_MODEL_DIR'] ?? '', MODEL, '1'), work, { recursive: true });
  const description = await readFile(join(work, 'model.yaml'), 'utf8');
  await writeFile(join(work, 'model.yaml'), change(description));
  // The digests are those of the description before.
  await rm(join(work, 'digests.json'));
  await mkdir(join(modelDir, MODEL), { recursive: true });
  await rename(work, join(modelDir, MODEL, version));
}

interface Listed {
  readonly id: string;
  readonly version: string;
  readonly maxInputTokens: number;
}

async function listed(): Promise<readonly Listed[]> {
  return ((await send(gateway.url, '/v1/models', { key })).body as { readonly data: readonly Listed[] }).data;
}

/** Waits until the list of models is as it should be; the test's time limit bounds the wait. */
async function untilListed(condition: (models: readonly Listed[]) => boolean): Promise<void> {
  while (!condition(await listed())) await delay(20);
}

const submit = (model: string) =>
  send(gateway.url, '/v1/jobs', { key, method: 'POST', body: JSON.stringify({ model, input: 'const a = 1;' }) });

describe('the catalogue of a gateway that runs', () => {
  it('has a model as soon as models.yaml has it, and no longer', async () => {
    expect((await submit('detector')).status).toBe(404);
    await writeFile(modelsYaml, `${original}  detector: { pool: text, repository: ${MODEL}, version: '1' }\n`);
    await untilListed((models) => models.some(({ id }) => id === 'detector'));
    expect((await submit('detector')).status).toBe(202);
    await writeFile(modelsYaml, original);
    await untilListed((models) => models.length === 3);
    expect((await submit('detector')).status).toBe(404);
  });

  it('has a new version that is put into the repository, and not one that takes less', async () => {
    await putVersion('2', (description) => description.replace(/maxInputTokens: .*/, 'maxInputTokens: 12000'));
    await untilListed((models) => models.some(({ id, version }) => id === MODEL && version === '2'));
    expect((await listed()).find(({ id }) => id === MODEL)).toMatchObject({ maxInputTokens: 12_000 });
    await putVersion('3', (description) => description.replace(/maxInputTokens: .*/, 'maxInputTokens: 11000'));
    await putVersion('4');
    await writeFile(modelsYaml, `${original}  seen: { pool: text, repository: ${MODEL}, version: '1' }\n`);
    await untilListed((models) => models.some(({ id }) => id === 'seen'));
    expect((await listed()).find(({ id }) => id === MODEL)).toMatchObject({ version: '2' });
    // What takes less is the latest once it is compared with what takes no more.
    await rm(join(modelDir, MODEL, '2'), { recursive: true });
    await untilListed((models) => models.some(({ id, version }) => id === MODEL && version === '3'));
    expect((await listed()).find(({ id }) => id === MODEL)).toMatchObject({ maxInputTokens: 11_000 });
  });

  it('stays as it is while models.yaml is wrong, and heals with it', async () => {
    // What a test before has left.
    await untilListed((models) => models.length === 3);
    const before = await listed();
    await writeFile(modelsYaml, 'models: [');
    await delay(100);
    expect(await listed()).toEqual(before);
    const more = `${original}  healed: { pool: text, repository: ${MODEL}, version: '1' }\n`;
    await writeFile(modelsYaml, more);
    await untilListed((models) => models.some(({ id }) => id === 'healed'));
  });

  it('serves a model whose canary is missing, says so, and starts with it', async () => {
    const stateOf = async ({ url }: Gateway) => {
      const { status, body } = await send(url, '/health');
      return [status, (body as { readonly modelFiles: string }).modelFiles];
    };
    // What a test before has left.
    for (const version of ['3', '4']) await rm(join(modelDir, MODEL, version), { recursive: true, force: true });
    while ((await stateOf(gateway))[1] !== 'ok') await delay(20);
    const canary = "canary: { version: '99', percent: 5 }";
    await writeFile(modelsYaml, `${original}  tried: { pool: text, repository: ${MODEL}, version: '1', ${canary} }\n`);
    await untilListed((models) => models.some(({ id }) => id === 'tried'));
    expect((await submit('tried')).status).toBe(202);
    const other = await fixture.startGateway({ SLUICE_MODEL_POLL: '0', SLUICE_MODEL_DIR: modelDir });
    for (const each of [gateway, other]) expect(await stateOf(each)).toEqual([200, 'unavailable']);
    await writeFile(modelsYaml, original);
    while ((await stateOf(gateway))[1] !== 'ok') await delay(20);
  });

  it('takes models of the pools that it has queues for, and leaves those of new pools for another start', async () => {
    const more = [
      original.replace('pools:\n', 'pools:\n  other: {}\n'),
      `  known: { pool: text, repository: ${MODEL}, version: '1' }\n`,
      `  waiting: { pool: other, repository: ${MODEL}, version: '1' }\n`,
    ];
    await writeFile(modelsYaml, more.join(''));
    await untilListed((models) => models.some(({ id }) => id === 'known'));
    expect((await listed()).map(({ id }) => id)).not.toContain('waiting');
  });

  it('is looked at again at once on SIGHUP', async () => {
    const other = await fixture.startGateway({ SLUICE_MODEL_POLL: '0', SLUICE_MODEL_DIR: modelDir });
    const ids = async () => {
      const { body } = await send(other.url, '/v1/models', { key });
      return (body as { readonly data: readonly Listed[] }).data.map(({ id }) => id);
    };
    await writeFile(modelsYaml, `${original}  late: { pool: text, repository: ${MODEL}, version: '1' }\n`);
    await untilListed((models) => models.some(({ id }) => id === 'late'));
    expect(await ids()).not.toContain('late');
    // n.b. not `other.process.kill`, after which it would count as told to end.
    process.kill(other.process.pid ?? 0, 'SIGHUP');
    while (!(await ids()).includes('late')) await delay(20);
  });
});
