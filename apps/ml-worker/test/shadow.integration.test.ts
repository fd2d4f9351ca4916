import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage, CompletedMessage } from '@sluice/contracts';
import { delay } from '@sluice/runtime';
import { tinyJob } from './fixtures.js';
import { POOL, prepareModels } from './rig.js';
import { writeTinyModel, type TinyModelOptions } from './tiny-model.js';
import { openTinyRig, resultOf, sumOf, type TinyRig } from './tiny-rig.js';
import { isAlive, type Health, type WorkerProcess } from './worker-process.js';

let rig: TinyRig;
let worker: WorkerProcess;

beforeAll(async () => void (rig = await openTinyRig()), 60_000);
beforeEach(() => rig.reset());
afterEach(() => rig.release(), 60_000);
afterAll(() => rig.close());

const ONE = "version: '1'";
const SHADOW = "version: '1', shadow: { version: '2', percent: 100, tolerance: 0.5 }";

/** A worker whose jobs are compared with another version of the model. */
async function startWith(shadow: TinyModelOptions, environment: Readonly<Record<string, string>> = {}): Promise<void> {
  await writeTinyModel(rig.directory, { ...shadow, version: '2' });
  await rig.configure(SHADOW);
  worker = await rig.worker({ SLUICE_MODEL_POLL: '20ms', ...environment });
}

const untilShadow = (condition: (shadow: Health['detail']['shadows'][number]) => boolean) =>
  worker.until(({ shadows: [shadow] }) => shadow !== undefined && condition(shadow));
const shadowNow = async () => (await worker.health()).detail.shadows[0];

/** Every job ended as if there were no shadow: on the main version, with its result, billed for its own tokens. */
async function expectAnswered(jobs: readonly AcceptedMessage[]): Promise<void> {
  const ends = await rig.endsOf(jobs);
  for (const [at, job] of jobs.entries()) {
    const end = ends[at] as CompletedMessage;
    expect([end.state, resultOf(end)]).toEqual(['succeeded', { version: '1', sum: sumOf(job) }]);
    expect(end.usage).toEqual({ inputTokens: job.inputTokens, outputTokens: 0, cachedTokens: 0 });
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
    const folder = join(rig.directory, 'use-lite-en');
    await cp(join(models.modelDirectory, 'use-lite-en', '1'), join(folder, '1'), { recursive: true });
    await cp(join(models.modelDirectory, 'use-lite-en-int8', '1'), join(folder, '2'), { recursive: true });
    const description = await readFile(join(folder, '2', 'model.yaml'), 'utf8');
    await writeFile(
      join(folder, '2', 'model.yaml'),
      description.replace('name: use-lite-en-int8', 'name: use-lite-en'),
    );
    // The digests are those of the description before.
    await rm(join(folder, '2', 'digests.json'));
    await rig.configure(ONE, `  use-lite-en: { pool: ${POOL}, ${SHADOW.replace('0.5', '0.03')} }`);
    worker = await rig.worker();
    await untilShadow(({ state }) => state === 'ready');
    const words = ['queues', 'hold', 'work', 'until', 'someone', 'has', 'time'];
    const texts = words.map((_, at) => words.slice(0, at + 1).join(' '));
    const job = tinyJob(texts, { model: 'use-lite-en' });
    await rig.submit([job]);
    expect(await rig.endsOf([job])).toMatchObject([{ state: 'succeeded', modelVersion: '1' }]);
    await untilShadow(({ agreed, disagreed }) => agreed + disagreed === texts.length);
    const { agreed, cosine, greatestDifference } = (await shadowNow()) ?? {};
    expect(agreed).toBe(texts.length);
    expect(cosine?.least).toBeGreaterThan(0.99);
    expect(cosine?.mean).toBeLessThan(1);
    expect(greatestDifference).toBeGreaterThan(0);
    await models.remove();
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
    const { problems, unloadable } = (await worker.health()).detail.modelFiles;
    expect(problems).toEqual([expect.stringMatching(/^The shadow of tiny cannot be used: .*tiny\/2/)]);
    expect(Object.keys(unloadable)).toEqual(['tiny/2']);
    expect(await worker.metric('sluice_worker_model_problems')).toBe(1);
    expect(await worker.metric('sluice_worker_model_unloadable{model="tiny",version="2"}')).toBe(1);
    expect((await shadowNow())?.reason).toMatch(/tiny\/2.*cannot be loaded/);
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    await expectAnswered(jobs);
  }, 60_000);

  it('begins and ends to compare when models.yaml says so', async () => {
    await startWith({});
    await untilShadow(({ state }) => state === 'ready');
    const [pid = 0] = (await shadowNow())?.pids ?? [];
    await rig.configure(ONE);
    await worker.until(({ shadows }) => shadows.length === 0);
    while (isAlive(pid)) await delay(10);
    await rig.configure(SHADOW);
    await untilShadow(({ state }) => state === 'ready');
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    await expectAnswered(jobs);
    await untilShadow(({ agreed }) => agreed === 5);
  }, 60_000);
});
