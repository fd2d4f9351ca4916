import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage } from '@sluice/contracts';
import { delay } from '@sluice/runtime';
import { tinyJob } from './fixtures.js';
import { POOL } from './rig.js';
import { writeTinyModel } from './tiny-model.js';
import { openTinyRig, resultOf, sumOf, type TinyRig } from './tiny-rig.js';
import type { WorkerProcess } from './worker-process.js';

let rig: TinyRig;
let worker: WorkerProcess;

beforeAll(async () => void (rig = await openTinyRig()), 60_000);

beforeEach(async () => {
  await rig.reset();
  await rig.configure('version: latest');
  worker = await rig.worker({ SLUICE_MODEL_POLL: '20ms' });
}, 60_000);

afterEach(() => rig.release(), 60_000);
afterAll(() => rig.close());

const untilServed = (version: string) =>
  worker.until(({ models, modelFiles }) => models[0]?.version === version && modelFiles.state === 'served');
const untilProblem = (pattern: RegExp) =>
  worker.until(({ modelFiles }) => modelFiles.problems.some((problem) => pattern.test(problem)));

const jobsOf = (count: number, overrides: Partial<AcceptedMessage> = {}) =>
  Array.from({ length: count }, (_, at) => tinyJob('abcdefghij'.slice(0, 1 + (at % 10)), overrides));

describe('a worker whose models change', () => {
  it('serves new versions under load, and every job ends once on the version that it was begun with', async () => {
    const jobs: AcceptedMessage[] = [];
    const done = { is: false };
    const submitting = (async () => {
      while (!done.is) {
        const more = jobsOf(50);
        jobs.push(...more);
        await rig.submit(more);
        // n.b. enough that some are in hand at each change, and few enough that they end soon after it.
        await rig.until(() => jobs.filter(({ jobId }) => !rig.completions.has(jobId)).length < 200);
      }
    })();
    const hasRun = (version: string) =>
      jobs.some(({ jobId }) => rig.completions.get(jobId)?.some(({ modelVersion }) => modelVersion === version));
    await rig.until(() => hasRun('1'));
    for (const version of ['2', '3', '4']) {
      await writeTinyModel(rig.directory, { version, factor: Number(version) });
      await untilServed(version);
      await rig.until(() => hasRun(version));
    }
    done.is = true;
    await submitting;
    const last = jobsOf(5);
    await rig.submit(last);
    const ends = (await rig.endsOf([...jobs, ...last])).map(resultOf);
    for (const [at, job] of [...jobs, ...last].entries()) {
      expect(ends[at]?.sum).toBe(sumOf(job) * Number(ends[at]?.version));
    }
    expect(new Set(ends.map(({ version }) => version))).toEqual(new Set(['1', '2', '3', '4']));
    expect(ends.slice(-5).map(({ version }) => version)).toEqual(['4', '4', '4', '4', '4']);
    await worker.until(({ inferenceProcesses }) => inferenceProcesses.pids.length === 2);
  }, 120_000);

  it.each<[string, () => Promise<void>, RegExp]>([
    ['is no model', () => writeTinyModel(rig.directory, { version: '2', damaged: true }), /tiny\/2.*cannot be loaded/],
    [
      'is copied half',
      async () => void (await mkdir(join(rig.directory, 'tiny', '2'))),
      /tiny\/2\/model\.yaml cannot be/,
    ],
    [
      'takes shorter texts',
      () => writeTinyModel(rig.directory, { version: '2', maxInputTokens: 10 }),
      /takes 10 tokens/,
    ],
  ])(
    'stays with the version that it has when the next one %s, and says so',
    async (_what, make, problem) => {
      await make();
      await untilProblem(problem);
      const jobs = jobsOf(20);
      await rig.submit(jobs);
      expect(new Set((await rig.endsOf(jobs)).map(({ modelVersion }) => modelVersion))).toEqual(new Set(['1']));
      expect(await worker.metric('sluice_worker_model_reload_failures_total')).toBeGreaterThan(0);
      await rm(join(rig.directory, 'tiny', '2'), { recursive: true });
      await writeTinyModel(rig.directory, { version: '3' });
      await untilServed('3');
      await worker.until(({ modelFiles }) => modelFiles.problems.length === 0);
    },
    60_000,
  );

  it('takes over other models while a version that cannot be loaded is left out', async () => {
    await writeTinyModel(rig.directory, { version: '2', damaged: true });
    await writeTinyModel(rig.directory, { name: 'other', factor: 3 });
    await rig.configure('version: latest', `  other: { pool: ${POOL}, version: latest }`);
    await worker.until(({ models }) => models.length === 2);
    await untilProblem(/tiny\/2 cannot be loaded/);
    const { detail } = await worker.health();
    expect(detail.models.map(({ name, version }) => `${name}/${version}`)).toEqual(['tiny/1', 'other/1']);
    expect(detail.modelFiles.unloadable).toEqual({ 'tiny/2': expect.stringMatching(/cannot be loaded/) });
    expect(await worker.metric('sluice_worker_model_unloadable{model="tiny",version="2"}')).toBe(1);
    const jobs = [...jobsOf(5), ...jobsOf(5, { model: 'other' })];
    await rig.submit(jobs);
    const ends = await rig.endsOf(jobs);
    expect(ends.map((end) => resultOf(end).sum)).toEqual(
      jobs.map((job) => sumOf(job) * (job.model === 'other' ? 3 : 1)),
    );
    await rm(join(rig.directory, 'tiny', '2'), { recursive: true });
    await worker.until(({ modelFiles }) => modelFiles.problems.length === 0);
    expect((await worker.health()).detail.modelFiles.unloadable).toEqual({});
    expect(await worker.metric('sluice_worker_model_unloadable{model="tiny",version="2"}')).toBeNaN();
  }, 60_000);

  it('starts with the version before the latest when that cannot be loaded, and says so', async () => {
    await rig.release();
    await writeTinyModel(rig.directory, { version: '2', factor: 2 });
    await writeTinyModel(rig.directory, { version: '3', damaged: true });
    worker = await rig.worker({ SLUICE_MODEL_POLL: '20ms' });
    const { modelFiles, models } = (await worker.health()).detail;
    expect([models[0]?.version, modelFiles.problems]).toEqual([
      '2',
      [expect.stringMatching(/tiny\/3 cannot be loaded/)],
    ]);
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    expect((await rig.endsOf(jobs)).map((end) => resultOf(end).sum)).toEqual(jobs.map((job) => sumOf(job) * 2));
    await writeTinyModel(rig.directory, { version: '4' });
    await untilServed('4');
  }, 60_000);

  it('does not start with a pinned version that cannot be loaded', async () => {
    await rig.release();
    await writeTinyModel(rig.directory, { version: '2', damaged: true });
    await rig.configure("version: '2'");
    await expect(rig.worker()).rejects.toThrow('the worker ended: 1');
  }, 60_000);

  it.each<[string, () => Promise<void>, RegExp]>([
    ['is missing', async () => undefined, /tiny\/2\/model\.yaml cannot be read/],
    ['is no model', () => writeTinyModel(rig.directory, { version: '2', damaged: true }), /tiny\/2 cannot be loaded/],
  ])(
    'starts and answers every job on the main version while the canary %s, and says so',
    async (_what, make, problem) => {
      await rig.release();
      await make();
      await rig.configure("version: '1', canary: { version: '2', percent: 50 }");
      worker = await rig.worker({ SLUICE_MODEL_POLL: '20ms' });
      const { modelFiles } = (await worker.health()).detail;
      expect(modelFiles.problems).toEqual([expect.stringMatching(problem)]);
      expect(modelFiles.problems[0]).toMatch(/^The canary of tiny cannot be used: /);
      expect(await worker.metric('sluice_worker_model_problems')).toBe(1);
      const jobs = jobsOf(20);
      await rig.submit(jobs);
      expect(new Set((await rig.endsOf(jobs)).map(({ modelVersion }) => modelVersion))).toEqual(new Set(['1']));
      await rm(join(rig.directory, 'tiny', '2'), { recursive: true, force: true });
      await writeTinyModel(rig.directory, { version: '2' });
      await worker.until(({ models }) => models[0]?.canary?.version === '2');
      await worker.until(({ modelFiles: { problems } }) => problems.length === 0);
      expect(await worker.metric('sluice_worker_model_problems')).toBe(0);
    },
    60_000,
  );

  it('knows what a version costs that came while it ran, and forgets the one before', async () => {
    await rig.submit(jobsOf(1));
    await worker.until(({ batching }) => batching['tiny/1'] !== undefined);
    await writeTinyModel(rig.directory, { version: '2' });
    await untilServed('2');
    await worker.until(({ batching }) => Object.keys(batching).join() === 'tiny/2');
  }, 60_000);

  it('stays as it is while models.yaml is wrong', async () => {
    await writeFile(join(rig.directory, 'models.yaml'), 'models: [');
    await untilProblem(/models\.yaml:1/);
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    expect((await rig.endsOf(jobs)).map(({ state }) => state)).toEqual(jobs.map(() => 'succeeded'));
  }, 60_000);

  it('takes a model on, and lets it go', async () => {
    await rig.configure('version: latest', `  also: { pool: ${POOL}, repository: tiny, version: '1' }`);
    await worker.until(({ models }) => models.length === 2);
    const job = tinyJob('abc', { model: 'also' });
    await rig.submit([job]);
    expect(await rig.endsOf([job])).toMatchObject([{ state: 'succeeded', modelVersion: '1' }]);
    await rig.configure('version: latest');
    await worker.until(({ models }) => models.length === 1);
    // n.b. such a job goes to a retry tier, where this test leaves it.
    await rig.submit([tinyJob('abc', { model: 'also' })]);
    await worker.until(({ jobsInHand }) => jobsInHand === 0);
  }, 60_000);

  it('gives a canary its share, always of the same tenants, also at the second attempt', async () => {
    await writeTinyModel(rig.directory, { version: '2', factor: 2 });
    await rig.configure("version: '1', canary: { version: '2', percent: 40 }");
    await worker.until(({ models }) => models[0]?.canary !== undefined);
    const tenants = Array.from({ length: 200 }, (_, at) => `tenant-${at}`);
    const first = tenants.map((tenantId) => tinyJob('a', { tenantId }));
    const second = tenants.map((tenantId) => tinyJob('b', { tenantId }));
    await rig.submit(first);
    await rig.submit(second, 2);
    const [ofFirst, ofSecond] = [await rig.endsOf(first), await rig.endsOf(second)].map((ends) =>
      ends.map(({ modelVersion }) => modelVersion),
    );
    expect(ofSecond).toEqual(ofFirst);
    const share = (ofFirst ?? []).filter((version) => version === '2').length / tenants.length;
    // Six standard deviations of a share of 200.
    expect(Math.abs(share - 0.4)).toBeLessThan(0.21);
  }, 60_000);

  it('shows what versions and processes take in memory', async () => {
    const { detail } = await worker.health();
    expect(detail.models[0]?.memoryBytes['1']).toBeGreaterThan(0);
    expect(await worker.metric('sluice_worker_model_memory_bytes{model="tiny",version="1"}')).toBeGreaterThan(0);
    const [pid] = detail.inferenceProcesses.pids;
    expect(detail.inferenceProcesses.memoryBytes.processes[`${pid}`]).toBeGreaterThan(2 ** 20);
    expect(await worker.metric(`sluice_worker_inference_process_memory_bytes{pid="${pid}"}`)).toBeGreaterThan(2 ** 20);
  });

  it('keeps nothing of what it served before, over 50 reloads', async () => {
    const heaps: number[] = [];
    const filesBefore = worker.openFiles();
    for (let version = 2; version <= 51; version += 1) {
      await writeTinyModel(rig.directory, { version: String(version) });
      await untilServed(String(version));
      await rm(join(rig.directory, 'tiny', String(version - 1)), { recursive: true });
      heaps.push(await worker.heapBytes());
    }
    // What a worker that is new compiles and caches has come to an end by then. A process that is gone takes some 40 kB as long as
    // anything holds on to it.
    expect(slopeOf(heaps.slice(25))).toBeLessThan(16 * 1024);
    await worker.until(({ inferenceProcesses }) => inferenceProcesses.pids.length === 2);
    while (worker.children().length !== 2) await delay(10);
    // n.b. connections of this test to the worker come and go; each process has three pipes.
    expect(worker.openFiles()).toBeLessThan(filesBefore + 30);
    const jobs = jobsOf(5);
    await rig.submit(jobs);
    expect(new Set((await rig.endsOf(jobs)).map(({ modelVersion }) => modelVersion))).toEqual(new Set(['51']));
  }, 240_000);
});

/** Slope of the straight line that is nearest to the values, by their positions. */
function slopeOf(values: readonly number[]): number {
  const [middle, mean] = [(values.length - 1) / 2, values.reduce((sum, value) => sum + value, 0) / values.length];
  const products = values.map((value, at) => (at - middle) * (value - mean));
  const squares = values.map((_, at) => (at - middle) ** 2);
  return products.reduce((a, b) => a + b, 0) / squares.reduce((a, b) => a + b, 0);
}
