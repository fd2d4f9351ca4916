import { describe, expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { characterModel } from '../test/fixtures.js';
import { createBatcher } from './batcher.js';
import type { InferenceHost } from './inference-host.js';
import { createScheduler, type QueuedText, type Work } from './scheduler.js';

/** Token that the model refuses, and token that ends the process. */
const REFUSED = 'x'.charCodeAt(0);
const DEADLY = 'k'.charCodeAt(0);

/** A host in memory: one process, a row is the sum of a text's tokens; records the runs. */
function createSummingHost() {
  const runs: number[] = [];
  let idle = 1;
  let onIdle: () => void = () => undefined;
  const host: InferenceHost = {
    get idle() {
      return idle;
    },
    warm: 1,
    pids: [],
    onIdle: (listener) => void (onIdle = listener),
    start: async () => undefined,
    stop: async () => undefined,
    async run(_model, sequences) {
      idle -= 1;
      runs.push(sequences.length);
      await new Promise(setImmediate);
      idle += 1;
      try {
        if (sequences.some((sequence) => sequence.includes(DEADLY)))
          throw new ServiceError('inference_crashed', 'It ended.');
        if (sequences.some((sequence) => sequence.includes(REFUSED)))
          throw new ServiceError('inference_failed', 'It refused.');
        return Float32Array.from(sequences, (sequence) => sequence.reduce((sum, token) => sum + token, 0));
      } finally {
        onIdle();
      }
    },
  };
  return { host, runs };
}

function createFixture(maxDelayMs = 0) {
  const { host, runs } = createSummingHost();
  const logger = createLogger({ app: 'test', level: 'silent' });
  const batcher = createBatcher<QueuedText>({ maxTokens: 64, maxPadding: 0.5 });
  const scheduler = createScheduler({ host, batcher, maxDelayMs, logger });
  const served = characterModel();
  const run = (texts: readonly string[], overrides: Partial<Work> = {}) =>
    scheduler.run({
      served,
      class: 'standard',
      sequences: texts.map((text) => served.tokenizer.encode(text)),
      alone: false,
      ...overrides,
    });
  return { run, runs, scheduler };
}

const sumOf = (text: string): number => [...text].reduce((sum, character) => sum + character.charCodeAt(0), 0);

describe('a scheduler', () => {
  it('returns the rows of a job in the order of its texts, across several batches', async () => {
    const { run, runs, scheduler } = createFixture();
    const texts = Array.from({ length: 50 }, (_, at) => 'abc'.repeat(1 + (at % 7)) + String.fromCharCode(200 + at));
    expect([...(await run(texts))]).toEqual(texts.map(sumOf));
    expect(runs.length).toBeGreaterThan(1);
    expect(runs.length).toBeLessThan(texts.length);
    expect(scheduler.waiting).toBe(0);
  });

  it('lets texts of jobs that came together share a run', async () => {
    const { run, runs } = createFixture();
    await Promise.all([run(['abc']), run(['def']), run(['ghi', 'jlm'])]);
    expect(runs).toEqual([4]);
  });

  it('holds texts of the class batch for company and sends an interactive one at once', async () => {
    const { run, runs } = createFixture(60_000);
    const waiting = run(['abc'], { class: 'batch' });
    await run(['def'], { class: 'interactive' });
    await waiting;
    expect(runs).toEqual([2]);
  });

  it('fails only the job whose text the model refuses', async () => {
    const { run, runs } = createFixture();
    const [good, bad, other] = await Promise.allSettled([run(['abc']), run(['axc']), run(['def'])]);
    expect(good).toMatchObject({ status: 'fulfilled' });
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'inference_failed' } });
    expect(other).toMatchObject({ status: 'fulfilled' });
    expect(runs).toEqual([3, 1, 1, 1]);
  });

  it('fails only the job whose text ends the process', async () => {
    const { run } = createFixture();
    const [good, bad] = await Promise.allSettled([run(['abc', 'def']), run(['ghi', 'akc'])]);
    expect(good).toMatchObject({ status: 'fulfilled' });
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'inference_crashed' } });
  });

  it('runs a text again that was alone when its process ended, because something else may have ended it', async () => {
    const { run, runs } = createFixture();
    await expect(run(['k'])).rejects.toMatchObject({ code: 'inference_crashed' });
    expect(runs).toEqual([1, 1]);
  });

  it('does not run a refused text twice when it was alone', async () => {
    const { run, runs } = createFixture();
    await expect(run(['x'])).rejects.toMatchObject({ code: 'inference_failed' });
    expect(runs).toEqual([1]);
  });

  it('drops the other texts of a job that failed', async () => {
    const { run, runs, scheduler } = createFixture();
    await expect(run(['x', 'a'.repeat(40), 'b'.repeat(40)])).rejects.toThrow();
    await run(['c']);
    expect(scheduler.waiting).toBe(0);
    expect(runs).toEqual([1, 1]);
  });

  it('runs every text by itself when asked to', async () => {
    const { run, runs } = createFixture();
    await run(['abc', 'def', 'ghi'], { alone: true });
    expect(runs).toEqual([1, 1, 1]);
  });

  it('answers a job without texts', async () => {
    const { run, runs } = createFixture();
    expect(await run([])).toHaveLength(0);
    expect(runs).toEqual([]);
  });

  it('drops a job that refuses to begin when its turn comes', async () => {
    const { run, runs, scheduler } = createFixture();
    const onStart = () => {
      throw new ServiceError('expired', 'Too late.');
    };
    const [late, good] = await Promise.allSettled([run(['abc', 'def'], { onStart }), run(['ghi'])]);
    expect(late).toMatchObject({ status: 'rejected', reason: { code: 'expired' } });
    expect(good).toMatchObject({ status: 'fulfilled' });
    expect([scheduler.waiting, runs]).toEqual([0, [1]]);
  });

  it('tells once when a job begins to run', async () => {
    const { run } = createFixture();
    let begun = 0;
    await run(['a', 'bbbbbbbbbbbbbbbbbbbbbbb'], { onStart: () => (begun += 1) });
    expect(begun).toBe(1);
  });
});
