import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { HEADERS, inputTexts, type AcceptedMessage, type CompletedMessage, type TextInput } from '@sluice/contracts';
import { asTextModel, createTokenizer, decodeOutput, openModelRepository } from '@sluice/models';
import { createLogger, delay } from '@sluice/runtime';
import { createInferenceHost } from '../src/inference/inference-host.js';
import { acceptedMessage } from './fixtures.js';
import { openRig, prepareModels, type ModelFixture, type Rig } from './rig.js';
import { ENDLESS, GREEDY, REFUSED, SLOW } from './tiny-model.js';
import { isAlive } from './worker-process.js';

const WORDS = 'a queue holds work until someone has time for it and meters what the work has really used'.split(' ');

/** Texts of 2 to 40 words, always the same. */
function textsOf(count: number): readonly string[] {
  return Array.from({ length: count }, (_, at) =>
    Array.from({ length: 2 + ((at * 7) % 39) }, (__, word) => WORDS[(at * 5 + word * 3) % WORDS.length]).join(' '),
  );
}

describe('a worker', () => {
  let models: ModelFixture;
  let rig: Rig;

  beforeAll(async () => {
    models = await prepareModels();
    rig = await openRig(models);
  });

  afterEach(() => rig.release());

  afterAll(async () => {
    await rig.close();
    await models.remove();
  });

  /** Jobs with the token counts that the gateway would have found. */
  /** A job with a text that no version takes, published around admission. */
  const uncountedJobs = () => jobsFor('tiny', ['x'.repeat(1_001)], { inputTokens: 1_000 });

  async function jobsFor(
    model: string,
    inputs: readonly (string | string[])[],
    overrides: Partial<AcceptedMessage> = {},
  ) {
    const tokenizer = await createTokenizer(
      asTextModel(await (await openModelRepository(models.modelDirectory)).find(model, '1')),
    );
    return inputs.map((input) => {
      const inputTokens = inputTexts(input).reduce((sum, text) => sum + tokenizer.count(text), 0);
      return acceptedMessage({
        model,
        input,
        inputTokens,
        reservedTokens: inputTokens,
        class: 'standard',
        ...overrides,
      });
    });
  }

  const allCompleted = (jobs: readonly AcceptedMessage[]) => () =>
    jobs.every(({ jobId }) => rig.completions.has(jobId));
  const completedAmong = (jobs: readonly AcceptedMessage[]) => jobs.filter(({ jobId }) => rig.completions.has(jobId));

  function onlyCompletion({ jobId }: AcceptedMessage): CompletedMessage {
    const completions = rig.completions.get(jobId) ?? [];
    expect(completions).toHaveLength(1);
    return completions[0] as CompletedMessage;
  }

  /** Every job ended well, billed exactly; `once` when nothing may have run twice. */
  function expectAllSucceeded(jobs: readonly AcceptedMessage[], once: boolean): void {
    for (const job of jobs) {
      const completions = rig.completions.get(job.jobId) ?? [];
      if (once) expect(completions).toHaveLength(1);
      for (const { state, usage, attempt } of completions) {
        expect({ state, usage, attempt }).toEqual({
          state: 'succeeded',
          usage: { inputTokens: job.inputTokens, outputTokens: 0, cachedTokens: 0 },
          attempt: 1,
        });
      }
    }
  }

  /** What each text gives when it runs by itself. */
  async function runDirectly(jobs: readonly AcceptedMessage[]) {
    const repository = await openModelRepository(models.modelDirectory);
    const names = [...new Set(jobs.map(({ model }) => model))];
    const versions = await Promise.all(
      names.map(async (key) => ({ key, model: asTextModel(await repository.find(key, '1')) })),
    );
    const host = createInferenceHost({
      modulePath: fileURLToPath(new URL('../dist/inference/inference-process.js', import.meta.url)),
      models: versions,
      environment: process.env,
      timeoutMs: 30_000,
      threads: 1,
      provider: { name: 'cpu' },
      processes: 1,
      logger: createLogger({ app: 'test', level: 'silent' }),
    });
    await host.start();
    const rows = new Map<string, Float32Array[]>();
    for (const { key, model } of versions) {
      const tokenizer = await createTokenizer(model);
      for (const { jobId, input } of jobs.filter((job) => job.model === key)) {
        const each: Float32Array[] = [];
        for (const text of inputTexts(input as TextInput))
          each.push((await host.run(key, [tokenizer.encode(text)])).rows);
        rows.set(jobId, each);
      }
    }
    await host.stop();
    return { rows, modelOf: (name: string) => versions.find(({ key }) => key === name)?.model };
  }

  it('gives each text the result it has alone, whatever else is in its batch', async () => {
    const texts = textsOf(40);
    const inputs = [...texts.slice(0, 30), texts.slice(30, 37), texts.slice(37)].map((input) =>
      typeof input === 'string' ? input : [...input],
    );
    const jobs = [
      ...(await jobsFor('use-lite-en', inputs)),
      ...(await jobsFor('use-lite-en-int8', inputs.slice(20))),
      ...(await jobsFor('guesslang', [
        'def f(x):\n    return x + 1\n'.repeat(3),
        '#include <stdio.h>\nint main() {}\n',
      ])),
    ];
    const worker = await rig.worker();
    expect([await worker.status('/livez'), await worker.status('/readyz')]).toEqual([200, 200]);
    await rig.submit(jobs);
    await rig.until(allCompleted(jobs));
    expectAllSucceeded(jobs, true);

    const { rows, modelOf } = await runDirectly(jobs);
    for (const job of jobs) {
      const model = modelOf(job.model);
      const { output } = onlyCompletion(job);
      const expected = rows.get(job.jobId) ?? [];
      if (output?.task === 'embedding') {
        output.embeddings.forEach((embedding, index) => {
          const floats = new Float32Array(new Uint8Array(Buffer.from(embedding, 'base64')).buffer);
          const error = Math.max(...floats.map((value, at) => Math.abs(value - (expected[index]?.[at] ?? NaN))));
          // Exact when texts do not share a run; else float32 sums in another order.
          expect(error).toBeLessThanOrEqual(model?.file.quantisation === 'dynamic' ? 0 : 1e-5);
        });
        expect(output.embeddings).toHaveLength(expected.length);
      } else {
        expect(model && decodeOutput(model, expected[0] ?? new Float32Array(), 1)).toEqual(output);
      }
    }
  });

  it('tells what each model takes of the memory of its processes', async () => {
    const worker = await rig.worker();
    await worker.until(({ inferenceProcesses: { warm } }) => warm === 2);
    const { models: all, inferenceProcesses } = (await worker.health()).detail;
    const taken = new Map(all.map(({ name, memoryBytes }) => [name, memoryBytes['1'] ?? 0]));
    // Its weights are 27 MB; the first to be loaded also carries what ONNX Runtime itself needs.
    const [largest = 0, code = 0] = [taken.get('use-lite-en'), taken.get('guesslang')];
    expect(largest).toBeGreaterThan(27e6);
    expect(largest).toBeLessThan(80e6);
    expect(code).toBeLessThan(20e6);
    const sum = [...taken.values()].reduce((total, bytes) => total + bytes, 0);
    for (const total of Object.values(inferenceProcesses.memoryBytes.processes)) expect(sum).toBeLessThan(total);
  });

  it('answers a job that is delivered twice with the same fact twice', async () => {
    const [job] = await jobsFor('tiny', ['abc']);
    await rig.worker();
    await rig.submit(job ? [job, job] : []);
    await rig.until(() => rig.completions.get(job?.jobId ?? '')?.length === 2);
    const [first, second] = rig.completions.get(job?.jobId ?? '') ?? [];
    const times = { startedAtMs: 0, finishedAtMs: 0 };
    expect({ ...first, ...times }).toEqual({ ...second, ...times });
  });

  it('ends malformed, expired, too long, empty and refused jobs, each in its way, and works on', async () => {
    await rig.worker();
    const [late] = await jobsFor('tiny', ['late'], { expiresAtMs: Date.now() - 1 });
    const [long] = await uncountedJobs();
    const [refused, empty, good] = await jobsFor('tiny', [`a${REFUSED}`, '', 'good']);
    const jobs = [late, long, refused, empty, good].filter((job) => job !== undefined);
    const deadBefore = rig.dead.length;
    await rig.submitRaw('{"jobId":', 'broken-json');
    await rig.submitRaw('{"jobId":"not an id"}', 'broken-fields');
    await rig.submit(jobs);
    await rig.until(() => allCompleted(jobs)() && rig.dead.length === deadBefore + 2);

    const ends = jobs
      .map((job) => onlyCompletion(job))
      .map(({ state, error, usage }) => [state, error?.code, usage.inputTokens]);
    expect(ends).toEqual([
      ['expired', 'expired', 0],
      ['failed', 'input_too_long', 0],
      ['failed', 'inference_failed', 0],
      ['succeeded', undefined, 0],
      ['succeeded', undefined, 4],
    ]);
    const letters = rig.dead.slice(deadBefore).map(({ messageId, headers }) => [messageId, headers[HEADERS.reason]]);
    expect(Object.fromEntries(letters)).toEqual({
      'broken-json': 'malformed_message: the body is not valid JSON',
      'broken-fields': expect.stringMatching(/^malformed_message: jobId: /),
    });
  });

  it('loses nothing when an inference process is killed with work in flight', async () => {
    const worker = await rig.worker({ SLUICE_BATCH_MAX_TOKENS: '128' });
    const jobs = await jobsFor('use-lite-en', textsOf(80));
    await rig.submit(jobs);
    await rig.until(() => completedAmong(jobs).length > 0);
    for (const pid of (await worker.health()).detail.inferenceProcesses.pids) process.kill(pid, 'SIGKILL');
    expect(completedAmong(jobs).length).toBeLessThan(jobs.length);
    await rig.until(allCompleted(jobs));
    expectAllSucceeded(jobs, true);
    expect(await worker.end('SIGTERM')).toBe(0);
  });

  it('gives up a job that overruns at every attempt, unharmed the jobs beside it', async () => {
    await rig.worker({ SLUICE_INFERENCE_TIMEOUT: '700ms' });
    const stuck = await jobsFor('tiny', [`stuck${SLOW}`]);
    const good = await jobsFor('tiny', textsOf(20));
    const deadBefore = rig.dead.length;
    await rig.submit(stuck, 5);
    await rig.submit(good);
    await rig.until(() => allCompleted(good)() && rig.dead.length > deadBefore);
    expectAllSucceeded(good, true);
    const [letter] = rig.dead.slice(deadBefore);
    expect(letter?.messageId).toBe(stuck[0]?.jobId);
    expect(letter?.headers[HEADERS.reason]).toBe('inference_timeout: Inference took longer than 700 ms.');
    expect(completedAmong(stuck)).toEqual([]);
  });

  it('gives up a job that takes too much memory at every attempt, unharmed the jobs beside it', async () => {
    await rig.worker({ SLUICE_INFERENCE_MEMORY: '600MiB' });
    const greedy = await jobsFor('tiny', [GREEDY]);
    const good = await jobsFor('tiny', textsOf(20));
    const deadBefore = rig.dead.length;
    await rig.submit(greedy, 5);
    await rig.submit(good);
    await rig.until(() => allCompleted(good)() && rig.dead.length > deadBefore);
    expectAllSucceeded(good, true);
    const [letter] = rig.dead.slice(deadBefore);
    expect(letter?.messageId).toBe(greedy[0]?.jobId);
    expect(letter?.headers[HEADERS.reason]).toBe(
      'inference_crashed: The run took the inference process beyond the 600 MiB of memory that it may use.',
    );
  });

  it('answers everybody else long before as many jobs overrun as it has processes, and others go wrong beside them', async () => {
    await rig.worker({ SLUICE_INFERENCE_TIMEOUT: '6s', SLUICE_INFERENCE_MEMORY: '600MiB' });
    const first = await jobsFor('tiny', ['first']);
    await rig.submit(first);
    await rig.until(allCompleted(first));

    const good = await jobsFor('tiny', textsOf(200));
    // Past its deadline by the time it has overrun: not tried again.
    const endless = await jobsFor('tiny', [`a${ENDLESS}`, ENDLESS], { expiresAtMs: Date.now() + 8_000 });
    const greedy = await jobsFor('tiny', [GREEDY]);
    const refused = [...(await jobsFor('tiny', [`b${REFUSED}`])), ...(await uncountedJobs())];
    const deadBefore = rig.dead.length;
    const reasons = () =>
      Object.fromEntries(
        rig.dead.slice(deadBefore).map(({ messageId, headers }) => [messageId, headers[HEADERS.reason]]),
      );
    await rig.submit(good.slice(0, 100));
    await Promise.all([rig.submit([...endless, ...refused]), rig.submit(greedy, 5)]);
    await rig.submit(good.slice(100));

    await rig.until(allCompleted(good));
    for (const { jobId } of endless) expect(reasons()).not.toHaveProperty(jobId);
    expectAllSucceeded(good, true);
    for (const job of good) {
      const sum = [...Buffer.from(inputTexts(job.input as TextInput).join(''))].reduce(
        (total, byte) => total + byte,
        0,
      );
      const { output } = onlyCompletion(job);
      const embedding = Buffer.from(Float32Array.of(sum).buffer).toString('base64');
      expect(output).toMatchObject({ embeddings: [embedding] });
    }

    await rig.until(() => allCompleted(refused)() && Object.keys(reasons()).length === 3);
    expect(refused.map((job) => onlyCompletion(job).error?.code)).toEqual(['inference_failed', 'input_too_long']);
    const tooLong = 'inference_timeout: Inference took longer than 6000 ms.';
    expect(reasons()).toEqual({
      ...Object.fromEntries(endless.map(({ jobId }) => [jobId, tooLong])),
      [greedy[0]?.jobId ?? '']: expect.stringMatching(/^inference_crashed: /),
    });
    expect(completedAmong([...endless, ...greedy])).toEqual([]);
  }, 120_000);

  it('leaves no process behind when it is killed while one runs what never ends', async () => {
    const worker = await rig.worker();
    const deadBefore = rig.dead.length;
    await rig.submit(await jobsFor('tiny', [ENDLESS]), 5);
    await worker.until(({ inferenceProcesses: { warm, idle } }) => warm === 2 && idle === 1);
    const { pids } = (await worker.health()).detail.inferenceProcesses;
    expect(await worker.end('SIGKILL')).toBe('SIGKILL');
    while (pids.some(isAlive)) await delay(10);
    // The job is delivered again, to a worker that ends it.
    await rig.worker({ SLUICE_INFERENCE_TIMEOUT: '300ms' });
    await rig.until(() => rig.dead.length > deadBefore);
  });

  it('does not start where the graphics card that was asked for is missing', async () => {
    const settings = { SLUICE_EXECUTION_PROVIDER: 'cuda', SLUICE_CUDA_DEVICE: '255' };
    await expect(rig.worker(settings)).rejects.toThrow('the worker ended: 1');
  });

  it('finishes what it has in hand on SIGTERM, and runs nothing twice', async () => {
    const jobs = await jobsFor('use-lite-en', textsOf(150));
    const first = await rig.worker({ SLUICE_PREFETCH_STANDARD: '20', SLUICE_BATCH_MAX_TOKENS: '128' });
    await rig.submit(jobs);
    await rig.until(() => completedAmong(jobs).length > 0);
    expect(await first.end('SIGTERM')).toBe(0);
    const byFirst = completedAmong(jobs).length;
    expect(byFirst).toBeLessThan(jobs.length);

    await rig.worker();
    await rig.until(allCompleted(jobs));
    expectAllSucceeded(jobs, true);
  });

  it('leaves its jobs to another worker when it is killed', async () => {
    const jobs = await jobsFor('use-lite-en', textsOf(120));
    const first = await rig.worker({ SLUICE_BATCH_MAX_TOKENS: '128' });
    await rig.submit(jobs);
    await rig.until(() => completedAmong(jobs).length > 0);
    expect(await first.end('SIGKILL')).toBe('SIGKILL');
    expect(completedAmong(jobs).length).toBeLessThan(jobs.length);

    await rig.worker();
    await rig.until(allCompleted(jobs));
    expectAllSucceeded(jobs, false);
  });
});
