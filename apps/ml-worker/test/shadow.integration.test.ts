import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage, CompletedMessage } from '@sluice/contracts';
import { delay } from '@sluice/runtime';
import { tinyJob } from './fixtures.js';
import { openRig, POOL, prepareModels, type Rig } from './rig.js';
import { writeTinyModel, type TinyModelOptions } from './tiny-model.js';
import { isAlive, type Health, type WorkerProcess } from './worker-process.js';

let directory: string;
let rig: Rig;
let worker: WorkerProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-shadow-'));
  rig = await openRig({ modelDirectory: directory, configDirectory: directory, remove: async () => undefined });
}, 60_000);

beforeEach(async () => {
  await rm(join(directory, 'tiny'), { recursive: true, force: true });
  await writeTinyModel(directory);
});

afterEach(() => rig.release(), 60_000);

afterAll(async () => {
  await rig.close();
  await rm(directory, { recursive: true });
});

async function configure(fields = '', more = ''): Promise<void> {
  const lines = [`pools: { ${POOL}: {} }`, 'models:', `  tiny: { pool: ${POOL}, version: '1'${fields} }`, more];
  await writeFile(join(directory, 'models.yaml'), lines.join('\n'));
}

const SHADOW = ", shadow: { version: '2', percent: 100, tolerance: 0.5 }";

/** A worker whose jobs are compared with another version of the model. */
async function startWith(shadow: TinyModelOptions, environment: Readonly<Record<string, string>> = {}): Promise<void> {
  await writeTinyModel(directory, { ...shadow, version: '2' });
  await configure(SHADOW);
  worker = await rig.worker({ SLUICE_MODEL_POLL: '20ms', ...environment });
}

const untilShadow = (condition: (shadow: Health['detail']['shadows'][number]) => boolean) =>
  worker.until(({ shadows: [shadow] }) => shadow !== undefined && condition(shadow));
const shadowNow = async () => (await worker.health()).detail.shadows[0];

async function endsOf(jobs: readonly AcceptedMessage[]): Promise<readonly CompletedMessage[]> {
  await rig.until(() => jobs.every(({ jobId }) => rig.completions.has(jobId)));
  return jobs.map(({ jobId }) => {
    const ends = rig.completions.get(jobId) ?? [];
    expect(ends).toHaveLength(1);
    return ends[0] as CompletedMessage;
  });
}

/** Every job ended as if there were no shadow: on the main version, with its result, billed for its own tokens. */
async function expectAnswered(jobs: readonly AcceptedMessage[]): Promise<void> {
  const ends = await endsOf(jobs);
  for (const [at, { state, modelVersion, usage, output }] of ends.entries()) {
    const text = jobs[at]?.input as string;
    expect([state, modelVersion]).toEqual(['succeeded', '1']);
    expect(usage).toEqual({ inputTokens: text.length, outputTokens: 0, cachedTokens: 0 });
    const [row = ''] = output?.task === 'embedding' ? output.embeddings : [];
    expect(Buffer.from(row, 'base64').readFloatLE(0)).toBe([...Buffer.from(text)].reduce((a, b) => a + b, 0));
  }
}

const jobsOf = (count: number, text = 'abcd') => Array.from({ length: count }, () => tinyJob(text));

describe('a worker with a shadow version', () => {
  it('compares what both make of a text, and changes nothing of what jobs come to', async () => {
    await startWith({ factor: 2 });
    await untilShadow(({ state }) => state === 'ready');
    const jobs = jobsOf(20);
    await rig.submit(jobs);
    await expectAnswered(jobs);
    await untilShadow(({ disagreed }) => disagreed === 20);
    const sum = 97 + 98 + 99 + 100;
    expect(await shadowNow()).toMatchObject({
      ...{ model: 'tiny', version: '1', shadow: '2', waitingJobs: 0, agreed: 0, failed: 0, dropped: 0 },
      ...{ cosine: { least: 1, mean: 1 }, greatestDifference: sum },
    });
    const labels = 'model="tiny",outcome="disagreed",shadow="2",version="1"';
    expect(await worker.metric(`sluice_worker_shadow_texts_total{${labels}}`)).toBe(20);
    const { detail } = await worker.health();
    expect(detail.models[0]?.memoryBytes['2']).toBeGreaterThan(0);
    expect(detail.batching).not.toHaveProperty('tiny/2');
  }, 60_000);

  it('tells how near a quantised model is to the one that answers', async () => {
    const models = await prepareModels();
    const folder = join(directory, 'use-lite-en');
    await cp(join(models.modelDirectory, 'use-lite-en', '1'), join(folder, '1'), { recursive: true });
    await cp(join(models.modelDirectory, 'use-lite-en-int8', '1'), join(folder, '2'), { recursive: true });
    const description = await readFile(join(folder, '2', 'model.yaml'), 'utf8');
    await writeFile(
      join(folder, '2', 'model.yaml'),
      description.replace('name: use-lite-en-int8', 'name: use-lite-en'),
    );
    await configure('', `  use-lite-en: { pool: ${POOL}, version: '1', ${SHADOW.slice(2).replace('0.5', '0.03')} }`);
    worker = await rig.worker();
    await untilShadow(({ state }) => state === 'ready');
    const words = ['queues', 'hold', 'work', 'until', 'someone', 'has', 'time'];
    const texts = words.map((_, at) => words.slice(0, at + 1).join(' '));
    const job = tinyJob(texts, { model: 'use-lite-en' });
    await rig.submit([job]);
    expect(await endsOf([job])).toMatchObject([{ state: 'succeeded', modelVersion: '1' }]);
    await untilShadow(({ agreed, disagreed }) => agreed + disagreed === texts.length);
    const { agreed, cosine, greatestDifference } = (await shadowNow()) ?? {};
    expect(agreed).toBe(texts.length);
    expect(cosine?.least).toBeGreaterThan(0.99);
    expect(cosine?.mean).toBeLessThan(1);
    expect(greatestDifference).toBeGreaterThan(0);
    await models.remove();
    await rm(folder, { recursive: true });
  }, 120_000);

  it('has a process for it that gives way to all others', async () => {
    await startWith({});
    await untilShadow(({ state }) => state === 'ready');
    const [pid = 0] = (await shadowNow())?.pids ?? [];
    const { pids } = (await worker.health()).detail.inferenceProcesses;
    expect([pids.includes(pid), getPriority(pid), getPriority(pids[0])]).toEqual([false, 19, 0]);
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    await expectAnswered(jobs);
    await untilShadow(({ agreed }) => agreed === 5);
  }, 60_000);

  it.each<[string, TinyModelOptions, Readonly<Record<string, string>>]>([
    ['never ends', { endless: 'd' }, { SLUICE_INFERENCE_TIMEOUT: '1s' }],
    ['ends its process', { greedy: 'd' }, { SLUICE_INFERENCE_MEMORY: '600MiB' }],
  ])(
    'answers jobs as ever while the shadow %s',
    async (_what, shadow, environment) => {
      await startWith(shadow, environment);
      await untilShadow(({ state }) => state === 'ready');
      const before = (await worker.health()).detail.inferenceProcesses.pids;
      const first = jobsOf(2);
      await rig.submit(first);
      await expectAnswered(first);
      // n.b. fewer than may wait: none is dropped for that.
      const jobs = jobsOf(200);
      await rig.submit(jobs);
      await expectAnswered(jobs);
      // n.b. on a busy machine it does not get the processor for its time.
      await untilShadow(({ failed, dropped }) => failed + dropped >= 2);
      const { pids, warm } = (await worker.health()).detail.inferenceProcesses;
      expect([[...pids].sort(), warm]).toEqual([[...before].sort(), 2]);
    },
    60_000,
  );

  it('answers jobs as ever when the process of the shadow is killed, and goes on to compare', async () => {
    await startWith({});
    await untilShadow(({ state }) => state === 'ready');
    const [pid = 0] = (await shadowNow())?.pids ?? [];
    process.kill(pid, 'SIGKILL');
    const jobs = jobsOf(50);
    await rig.submit(jobs);
    await expectAnswered(jobs);
    await untilShadow(({ agreed, failed }) => agreed + failed === 50 && agreed > 0);
  }, 60_000);

  it('starts and answers without a shadow that cannot be loaded, and says why', async () => {
    await startWith({ damaged: true });
    await untilShadow(({ state }) => state === 'unloadable');
    expect((await shadowNow())?.reason).toMatch(/tiny\/2.*cannot be loaded/);
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    await expectAnswered(jobs);
  }, 60_000);

  it('begins and ends to compare when models.yaml says so', async () => {
    await startWith({});
    await untilShadow(({ state }) => state === 'ready');
    const [pid = 0] = (await shadowNow())?.pids ?? [];
    await configure();
    await worker.until(({ shadows }) => shadows.length === 0);
    while (isAlive(pid)) await delay(10);
    await configure(SHADOW);
    await untilShadow(({ state }) => state === 'ready');
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    await expectAnswered(jobs);
    await untilShadow(({ agreed }) => agreed === 5);
  }, 60_000);
});
