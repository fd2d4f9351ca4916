import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { HEADERS, isTensorInput, type AcceptedMessage, type CompletedMessage } from '@sluice/contracts';
import { tinyJob } from './fixtures.js';
import { openRig, prepareModels, type ModelFixture, type Rig } from './rig.js';
import { squareJob, squareModel } from './square-model.js';

/** Sizes with which the model takes many seconds, and more than a gigabyte. */
const SLOW = 8_000;
const GREEDY = 16_000;
/** Takes more memory than there are addresses. */
const IMPOSSIBLE = 8_000_000;

describe('a worker with a model of tensors', () => {
  let models: ModelFixture;
  let rig: Rig;

  beforeAll(async () => {
    models = await prepareModels(squareModel);
    rig = await openRig(models);
  });

  afterEach(() => rig.release());

  afterAll(async () => {
    await rig.close();
    await models.remove();
  });

  const completed = (...jobs: AcceptedMessage[]) =>
    rig.until(() => jobs.every(({ jobId }) => rig.completions.has(jobId)));

  function endOf({ jobId }: AcceptedMessage): CompletedMessage {
    const completions = rig.completions.get(jobId) ?? [];
    expect(completions).toHaveLength(1);
    return completions[0] as CompletedMessage;
  }

  /** The numbers of `y`. */
  function doubled(job: AcceptedMessage): readonly number[] {
    const { output } = endOf(job);
    if (output?.task !== 'tensors') throw new Error('the job has no tensors');
    const [y] = output.outputs;
    expect(y).toMatchObject({ name: 'y', datatype: 'FP32' });
    const bytes = Buffer.from(y?.data ?? '', 'base64');
    return Array.from({ length: y?.shape[0] ?? 0 }, (_, at) => bytes.readFloatLE(4 * at));
  }

  /** The job with something else about its inputs. */
  function changed(job: AcceptedMessage, change: object, at = 0): AcceptedMessage {
    if (!isTensorInput(job.input)) throw new Error('the job has no tensors');
    const tensors = job.input.tensors.map((tensor, index) => (index === at ? { ...tensor, ...change } : tensor));
    return { ...job, input: { ...job.input, tensors } };
  }

  it('runs each job by itself, bills elements, and counts what it does', async () => {
    const worker = await rig.worker();
    const jobs = Array.from({ length: 40 }, (_, at) =>
      squareJob(
        1,
        Array.from({ length: at % 9 }, () => at),
      ),
    );
    const texts = ['one', 'two', 'three'].map((text) => tinyJob(text));
    await rig.submit([...jobs, ...texts]);
    await completed(...jobs, ...texts);
    jobs.forEach((job, at) => {
      expect(doubled(job)).toEqual(Array.from({ length: at % 9 }, () => 2 * at));
      const outputTokens = Math.ceil(((at % 9) + 1_000) / 2);
      expect(endOf(job)).toMatchObject({
        state: 'succeeded',
        modelVersion: '1',
        usage: { inputTokens: job.inputTokens, outputTokens, cachedTokens: 0 },
        output: { encoding: 'json', outputs: [{ name: 'y' }, { name: 'wide', shape: [1, 1_000] }] },
      });
    });
    const reasons = ['full', 'waste', 'delay', 'deadline', 'drain', 'isolated'];
    const batches = await Promise.all(
      reasons.map((reason) =>
        worker.metric(`sluice_worker_batches_total{model="square",reason="${reason}",version="1"}`),
      ),
    );
    expect(batches.filter((count) => count > 0).reduce((sum, count) => sum + count, 0)).toBe(jobs.length);
    const tokens = jobs.reduce((sum, { inputTokens }) => sum + inputTokens, 0);
    expect(await worker.metric('sluice_worker_tokens_total{model="square",version="1"}')).toBe(tokens);
    expect(await worker.metric('sluice_worker_padding_tokens_total{model="square",version="1"}')).toBe(0);
    const memory = 'sluice_worker_model_memory_bytes{model="square",version="1"}';
    expect(await worker.metric(memory)).toBeGreaterThanOrEqual(0);
  });

  it('fails what the model cannot take or gives too much of, unbilled, and works on', async () => {
    await rig.worker({ SLUICE_MAX_OUTPUT_BYTES: '100000' });
    const job = (size = 1) => squareJob(size, [1, 2]);
    const cases: [AcceptedMessage, string, RegExp][] = [
      [job(-1), 'inference_failed', /^The model could not process the input\.$/],
      [job(IMPOSSIBLE), 'inference_failed', /^The model could not process the input\.$/],
      [job(25), 'inference_failed', /^The outputs have 100008 bytes, at most 100000 are told\.$/],
      [{ ...job(), maxOutputTokens: 500 }, 'inference_failed', /^The outputs have 501 tokens, the job may produce 500/],
      [
        squareJob(1, new Array<number>(2_000).fill(0), { inputTokens: 1_000 }),
        'input_too_long',
        /^The inputs have 1001 tokens, the model takes/,
      ],
      [changed(job(), { name: 'z' }), 'inference_failed', /^inputs\.0\.name names no input of the model/],
      [changed(job(), { datatype: 'INT32' }), 'inference_failed', /^inputs\.0\.datatype must be FP32/],
      [
        changed(job(), { shape: [2, 1] }),
        'inference_failed',
        /^inputs\.0\.shape is \[2, 1\]; the input x takes \[-1\]/,
      ],
      [
        changed(job(), { data: 'AAAA' }),
        'inference_failed',
        /^The data of x holds 3 bytes, but a tensor FP32 .* has 8/,
      ],
      [changed(job(), { data: 'no base64!' }, 1), 'inference_failed', /^The data of size must be base64/],
      [{ ...job(), input: 'a text' }, 'inference_failed', /^The model takes tensors, not texts\.$/],
      [{ ...job(), model: 'tiny' }, 'inference_failed', /^The model takes texts, not tensors\.$/],
    ];
    const good = squareJob(2, [7]);
    await rig.submit([...cases.map(([bad]) => bad), good]);
    await completed(...cases.map(([bad]) => bad), good);
    for (const [bad, code, detail] of cases) {
      const usage = { inputTokens: 0, outputTokens: 0, cachedTokens: 0 };
      const error = { code, detail: expect.stringMatching(detail) as unknown };
      expect(endOf(bad)).toMatchObject({ state: 'failed', usage, error });
    }
    expect(doubled(good)).toEqual([14]);
  });

  it.each([
    ['its time', SLOW, { SLUICE_INFERENCE_TIMEOUT: '700ms' }, /^inference_timeout: Inference took longer than 700 ms/],
    [
      'its memory',
      GREEDY,
      { SLUICE_INFERENCE_MEMORY: '800MiB' },
      /^inference_crashed: .* beyond the 800 MiB of memory/,
    ],
  ])('ends a run that overruns %s, unharmed the jobs beside it', async (_what, size, settings, reason) => {
    await rig.worker(settings);
    const bad = squareJob(size, [1]);
    const good = Array.from({ length: 10 }, (_, at) => squareJob(1, [at]));
    const deadBefore = rig.dead.length;
    await rig.submit([bad], 5);
    await rig.submit(good);
    await rig.until(() => rig.dead.length > deadBefore);
    await completed(...good);
    const [letter] = rig.dead.slice(deadBefore);
    expect(letter?.messageId).toBe(bad.jobId);
    expect(letter?.headers[HEADERS.reason]).toMatch(reason);
    expect(good.map((job) => doubled(job)[0])).toEqual(good.map((_, at) => 2 * at));
  });

  it('stops a run of a job that is cancelled, and does not bill it; one that waits never begins', async () => {
    await rig.worker({ SLUICE_INFERENCE_PROCESSES: '1' });
    const [running, waiting, next] = [squareJob(SLOW, [1]), squareJob(1, [2]), squareJob(1, [3])];
    await rig.submit([running, waiting]);
    await rig.until(() => rig.started.has(running.jobId));
    await rig.cancel(waiting);
    await completed(waiting);
    await rig.cancel(running);
    await rig.submit([next]);
    await completed(running, next);
    for (const job of [running, waiting]) {
      const usage = { inputTokens: 0, outputTokens: 0, cachedTokens: 0 };
      expect(endOf(job)).toMatchObject({ state: 'canceled', usage });
      expect(endOf(job)).not.toHaveProperty('output');
    }
    expect(doubled(next)).toEqual([6]);
  });

  it('serves it although only models of texts can be measured before', async () => {
    const worker = await rig.worker({ SLUICE_CALIBRATION: 'always', SLUICE_CALIBRATION_DIR: models.modelDirectory });
    const job = squareJob(1, [4]);
    await rig.submit([job]);
    await completed(job);
    expect(doubled(job)).toEqual([8]);
    expect(await worker.status('/readyz')).toBe(200);
  }, 60_000);
});
