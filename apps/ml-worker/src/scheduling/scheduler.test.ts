import { describe, expect, it } from '@jest/globals';
import { isServiceError, ServiceError } from '@sluice/contracts';
import { createLogger, delay } from '@sluice/runtime';
import { characterModel, tensorModel } from '../../test/fixtures.js';
import { createBatcher } from './batcher.js';
import type { InferenceHost } from '../inference/inference-host.js';
import type { QueuedText, TensorWork, TextWork } from './running-job.js';
import { createBatchings } from './batching.js';
import { createScheduler } from './scheduler.js';
import type { SchedulingObserver } from './scheduling-metrics.js';

/** Token that the model refuses, and token that ends the process. */
const REFUSED = 'x'.charCodeAt(0);
const DEADLY = 'k'.charCodeAt(0);

/** Token that keeps the process busy until the run is stopped, and one that does until `release` is called. */
const ENDLESS = '~'.charCodeAt(0);
const HELD = '}'.charCodeAt(0);
/** Token that keeps the process busy until `overrun` is called, and then has taken too long, or `succeed`, and then took 3 s. */
const STUCK = '{'.charCodeAt(0);
const SLOW_MS = 3_000;
const TIMEOUT_MS = 30_000;

interface FixtureOptions {
  readonly maxDelayMs?: number;
  readonly processes?: number;
  readonly cancelGraceMs?: number;
  /** What a process takes to load its models, as the host tells it, in milliseconds. */
  readonly loadMs?: number;
  /** Whether a process that was ended is replaced at once, and not when `reload` is called. */
  readonly reloads?: boolean;
}

/** A host in memory: a row is the sum of a text's tokens; records the runs. */
function createSummingHost({ processes = 1, loadMs = 0, reloads = true }: FixtureOptions) {
  const unavailable = new Map<string, string>();
  const runs: number[] = [];
  const limits: (number | undefined)[] = [];
  let idle = processes;
  let warm = processes;
  let onIdle: () => void = () => undefined;
  const lost: (() => void)[] = [];
  const stops: number[] = [];
  const held: (() => void)[] = [];
  const stuck: ((isOver: boolean) => void)[] = [];
  const tensorRuns: number[] = [];
  const becomeIdle = (): void => {
    idle += 1;
    onIdle();
  };
  /** n.b. nobody is told of a process that is gone, only of the one that takes its place. */
  const lose = (): void => {
    warm -= 1;
    lost.push(() => {
      warm += 1;
      becomeIdle();
    });
    if (reloads) setImmediate(reload);
  };
  const reload = (): void => lost.splice(0).forEach((replace) => replace());
  /** Lends a process for a run, which ends it unless the model only refuses its texts. */
  async function lend<Result>(work: () => Promise<Result>): Promise<Result> {
    idle -= 1;
    try {
      const result = await work();
      becomeIdle();
      return result;
    } catch (error) {
      if (isServiceError(error) && error.code === 'inference_failed') becomeIdle();
      else lose();
      throw error;
    }
  }
  const host: InferenceHost = {
    get idle() {
      return idle;
    },
    get warm() {
      return warm;
    },
    loadMs,
    pids: [],
    memory: { processes: new Map(), models: new Map() },
    leftOut: new Map(),
    unavailable,
    serve: async (_models, hooks) => hooks.onServing(),
    canRun: (model) => idle > 0 && !unavailable.has(model),
    onIdle: (listener) => void (onIdle = listener),
    start: async () => undefined,
    stop: async () => undefined,
    run: (_model, sequences, { stop, limitMs } = {}) =>
      lend(async () => {
        runs.push(sequences.length);
        limits.push(limitMs);
        const has = (token: number) => sequences.some((sequence) => sequence.includes(token));
        let isOver = false;
        if (has(STUCK)) {
          isOver = await new Promise<boolean>((resolve) => {
            stuck.push(resolve);
            stop?.addEventListener('abort', () => resolve(false));
          });
        } else if (has(HELD)) await new Promise<void>((resolve) => held.push(resolve));
        else if (has(ENDLESS)) await new Promise((resolve) => stop?.addEventListener('abort', resolve));
        else await new Promise(setImmediate);
        if (stop?.aborted) stops.push(sequences.length);
        stop?.throwIfAborted();
        if (isOver) throw new ServiceError('inference_timeout', `It took longer than ${limitMs} ms.`);
        if (has(DEADLY)) throw new ServiceError('inference_crashed', 'It ended.');
        if (has(REFUSED)) throw new ServiceError('inference_failed', 'It refused.');
        const rows = Float32Array.from(sequences, (sequence) => sequence.reduce((sum, token) => sum + token, 0));
        return { rows, computeMs: has(STUCK) ? SLOW_MS : 1, cpuMs: 1 };
      }),
    runTensors: (_model, tensors, { stop } = {}) =>
      lend(async () => {
        tensorRuns.push(tensors.length);
        const isHeld = tensors[0]?.bytes[0] === HELD;
        if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
        else await new Promise(setImmediate);
        stop?.throwIfAborted();
        return { tensors, computeMs: 1, cpuMs: 1 };
      }),
  };
  const release = (): void => held.splice(0).forEach((resolve) => resolve());
  const overrun = (): void => stuck.splice(0).forEach((resolve) => resolve(true));
  const succeed = (): void => stuck.splice(0).forEach((resolve) => resolve(false));
  const loseModel = (model: string): void => {
    unavailable.set(model, 'it is damaged');
    onIdle();
  };
  return { host, runs, limits, tensorRuns, stops, stuck, release, overrun, succeed, reload, lose: loseModel };
}

function createFixture(options: FixtureOptions = {}) {
  const { maxDelayMs = 0, cancelGraceMs = 5 } = options;
  const { host, ...records } = createSummingHost(options);
  const logger = createLogger({ app: 'test', level: 'silent' });
  const batcher = createBatcher<QueuedText>();
  const batchings = createBatchings({ maxTokens: 64, maxPadding: 0.5, maxDelayMs, targetLatencyMs: 1_000 });
  const reasons: string[] = [];
  const observer: SchedulingObserver = { begun: (_model, reason) => void reasons.push(reason), ran: () => undefined };
  const scheduler = createScheduler({
    ...{ host, batcher, observer, logger, timeoutMs: TIMEOUT_MS, cancelGraceMs },
    batchingOf: (model) => batchings.of(model),
  });
  const served = characterModel();
  const workOf = (texts: readonly string[], overrides: Partial<TextWork> = {}): TextWork => ({
    served,
    class: 'standard',
    sequences: texts.map((text) => served.tokenizer.encode(text)),
    alone: false,
    remainingMs: 600_000,
    ...overrides,
  });
  /** The row of each text. */
  const run = async (texts: readonly string[], overrides: Partial<TextWork> = {}) => {
    const outcome = await scheduler.run(workOf(texts, overrides));
    if (outcome.state !== 'ran') throw new Error('the work was cancelled');
    return outcome.rows;
  };
  /** Begins work; `begun` resolves when its first text is about to run. */
  const begin = (texts: readonly string[], overrides: Partial<TextWork> = {}) => {
    let markBegun: () => void;
    const begun = new Promise<void>((resolve) => (markBegun = resolve));
    const work = workOf(texts, { onStart: () => markBegun(), ...overrides });
    return { begun, outcome: scheduler.run(work), cancel: () => scheduler.cancel(work) };
  };
  /** Begins work of tensors: one byte, which is what comes out, too. */
  const beginTensors = (byte: number, overrides: Partial<TensorWork> = {}) => {
    const work: TensorWork = {
      served: tensorModel(),
      class: 'standard',
      tensors: [{ shape: [1], bytes: Uint8Array.of(byte) }],
      tokens: 7,
      alone: false,
      remainingMs: 600_000,
      ...overrides,
    };
    return { outcome: scheduler.run(work), cancel: () => scheduler.cancel(work) };
  };
  const costOf = () => batchings.costOf(served.key);
  return { run, begin, beginTensors, costOf, reasons, scheduler, ...records };
}

/** Resolves when the condition holds; it is looked at in each turn of the event loop. */
async function until(condition: () => boolean): Promise<void> {
  const giveUpMs = performance.now() + 3_000;
  while (!condition()) {
    if (performance.now() > giveUpMs) throw new Error(`it never came to be: ${String(condition)}`);
    await new Promise(setImmediate);
  }
}

const sumOf = (text: string): number => [...text].reduce((sum, character) => sum + character.charCodeAt(0), 0);

describe('a scheduler', () => {
  it('runs the tensors of each job by themselves, beside texts that share a run', async () => {
    const { run, beginTensors, runs, tensorRuns, scheduler } = createFixture({ maxDelayMs: 60_000 });
    const jobs = [1, 2, 3].map((byte) => beginTensors(byte));
    await Promise.all([run(['abc'], { class: 'interactive' }), run(['def'], { class: 'interactive' })]);
    const outcomes = await Promise.all(jobs.map(({ outcome }) => outcome));
    expect(outcomes).toEqual(
      [1, 2, 3].map((byte) => ({ state: 'computed', tensors: [{ shape: [1], bytes: Uint8Array.of(byte) }] })),
    );
    expect([runs, tensorRuns, scheduler.waiting]).toEqual([[2], [1, 1, 1], 0]);
  });

  it('ends work of tensors that is cancelled before it runs, and gives the result of what ran after all', async () => {
    const { beginTensors, release, scheduler } = createFixture();
    let markBegun = (): void => undefined;
    const begun = new Promise<void>((resolve) => (markBegun = resolve));
    const running = beginTensors(HELD, { onStart: () => markBegun() });
    await begun;
    const waiting = beginTensors(1);
    expect(scheduler.waitingByModel().get('tensors/1')).toEqual({ texts: 1, tokens: 7 });
    waiting.cancel();
    expect(await waiting.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
    running.cancel();
    release();
    expect(await running.outcome).toMatchObject({ state: 'computed' });
  });

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
    const { run, runs } = createFixture({ maxDelayMs: 60_000 });
    const waiting = run(['abc'], { class: 'batch' });
    await run(['def'], { class: 'interactive' });
    await waiting;
    expect(runs).toEqual([2]);
  });

  it('does not hold a text back beyond its deadline', async () => {
    const { run, reasons } = createFixture({ maxDelayMs: 60_000 });
    await run(['abc'], { class: 'batch', remainingMs: 1_005 });
    expect(reasons).toEqual(['deadline']);
  });

  it('does not hold a text back when company could not pay', async () => {
    const { run, reasons } = createFixture({ maxDelayMs: 60_000 });
    await run(['a'.repeat(100)], { class: 'batch' });
    expect(reasons).toEqual(['waste']);
  });

  it('runs a text first whose deadline is near, but not before what came when it could have waited', async () => {
    const { begin, release } = createFixture();
    const order: string[] = [];
    const noting = (name: string) => ({ onStart: () => void order.push(name) });
    const long = begin(['}']);
    await long.begun;
    const works = [
      begin(['a'.repeat(64)], noting('standard')),
      begin(['b'.repeat(64)], { ...noting('urgent'), class: 'batch', remainingMs: 1_100 }),
      begin(['c'.repeat(64)], { ...noting('late'), class: 'batch', remainingMs: -1 }),
    ];
    release();
    for (const { outcome } of works) await outcome;
    expect(order).toEqual(['late', 'urgent', 'standard']);
  });

  it('tells for which models texts wait or run', async () => {
    const { begin, release, scheduler } = createFixture();
    const long = begin(['}']);
    await long.begun;
    expect([scheduler.waiting, scheduler.waitingFor('characters/1')]).toEqual([0, true]);
    const waiting = begin(['abc', 'de']);
    expect(scheduler.waitingByModel()).toEqual(new Map([['characters/1', { texts: 2, tokens: 5 }]]));
    release();
    await Promise.all([long.outcome, waiting.outcome]);
    expect([scheduler.waitingByModel().size, scheduler.waitingFor('characters/1')]).toEqual([0, false]);
  });

  it('fails jobs of a model that no process has any more, and lets what runs end', async () => {
    const { begin, run, release, lose, scheduler } = createFixture();
    const running = begin(['}']);
    await running.begun;
    const half = begin(['ab', 'cd']);
    const other = { ...characterModel(), key: 'characters/2' };
    const goesOn = run(['abc'], { served: other });
    lose('characters/1');
    await expect(half.outcome).rejects.toMatchObject({
      code: 'model_unavailable',
      message: 'No inference process has the model.',
      cause: 'characters/1: it is damaged',
    });
    await expect(run(['later'])).rejects.toMatchObject({ code: 'model_unavailable' });
    release();
    expect([...(await goesOn)]).toEqual([sumOf('abc')]);
    expect(scheduler.waiting).toBe(0);
    expect(await running.outcome).toMatchObject({ state: 'ran' });
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

  it('gives a text that runs again no more time than its job has left', async () => {
    const { run, begin, release, reasons } = createFixture();
    // Due 400 ms after it came: one run and the target latency of a second before its deadline.
    const broken = begin(['}k'], { class: 'batch', remainingMs: 1_400 });
    await broken.begun;
    await delay(200);
    const other = run(['abc'], { class: 'standard' });
    release();
    await until(() => reasons.length === 2);
    expect(reasons).toEqual(['drain', 'isolated']);
    release();
    await expect(broken.outcome).rejects.toMatchObject({ code: 'inference_crashed' });
    await other;
  });

  describe('with texts that take too long', () => {
    /** Lets each run that is stuck overrun, until the work has ended. */
    async function settled<Value>(outcome: Promise<Value>, overrun: () => void): Promise<void> {
      let isOver = false;
      const end = (): void => void (isOver = true);
      outcome.then(end, end);
      await until(() => {
        overrun();
        return isOver;
      });
    }

    it('stops a first run early, and lets only a run by itself with the whole time decide', async () => {
      const { run, limits, overrun } = createFixture();
      await run(['abc']);
      const texts = ['ab', 'c{', 'de'];
      const bad = run(texts);
      await settled(bad, overrun);
      await expect(bad).rejects.toMatchObject({ message: 'It took longer than 30000 ms.' });
      // The first run of a model, one that all share, each by itself, and the one that overran again.
      expect(limits).toEqual([TIMEOUT_MS, 2_000, 2_000, 2_000, 2_000, TIMEOUT_MS]);
    });

    it('fails a text by the first run of its model, which has the whole time', async () => {
      const { run, limits, overrun } = createFixture();
      const bad = run(['{']);
      await settled(bad, overrun);
      await expect(bad).rejects.toMatchObject({ code: 'inference_timeout' });
      expect(limits).toEqual([TIMEOUT_MS]);
    });

    it('answers others, with as many such texts as processes', async () => {
      const { run, limits, overrun, stuck } = createFixture({ processes: 2 });
      await run(['abc']);
      const jobs = [run(['{'.repeat(64)]), run(['{'.repeat(60)])].map((job) => job.catch((error: unknown) => error));
      await until(() => stuck.length === 2);
      overrun();
      await until(() => stuck.length === 1);
      for (let at = 0; at < 5; at += 1) expect([...(await run(['abc']))]).toEqual([sumOf('abc')]);
      expect(stuck).toHaveLength(1);
      overrun();
      await until(() => stuck.length === 1);
      expect([...(await run(['def']))]).toEqual([sumOf('def')]);
      overrun();
      expect(await Promise.all(jobs)).toEqual([
        expect.objectContaining({ code: 'inference_timeout' }),
        expect.objectContaining({ code: 'inference_timeout' }),
      ]);
      expect(limits.filter((limitMs) => limitMs === TIMEOUT_MS)).toHaveLength(3);
    });

    it('lets others have one process as long as such a text had it, and no longer', async () => {
      const { run, begin, release, overrun, stuck } = createFixture();
      await run(['abc']);
      const jobs = [run(['{'.repeat(64)]), run(['{'.repeat(60)])].map((job) => job.catch((error: unknown) => error));
      for (let early = 0; early < 2; early += 1) {
        await until(() => stuck.length === 1);
        overrun();
      }
      await until(() => stuck.length === 1);
      const hadSinceMs = performance.now();
      const order: string[] = [];
      const noting = (name: string) => ({ onStart: () => void order.push(name) });
      const others = [begin(['a}'], noting('first')), begin(['b'.repeat(64)], noting('second'))];
      await delay(300);
      const hadMs = performance.now() - hadSinceMs;
      // All are due by now, the other text that is stuck first.
      overrun();
      await until(() => order.length === 1);
      expect(stuck).toHaveLength(0);
      await delay(hadMs + 20);
      release();
      await until(() => stuck.length === 1);
      expect(order).toEqual(['first']);
      overrun();
      await Promise.all([...jobs, ...others.map(({ outcome }) => outcome)]);
      expect(order).toEqual(['first', 'second']);
    });

    it('keeps a process for others while no run of a model has ended', async () => {
      const { run, begin, release, runs } = createFixture({ processes: 2 });
      const first = begin(['}']);
      await first.begun;
      const other = { ...characterModel(), key: 'characters/2' };
      const waiting = run(['a'.repeat(64)]);
      await new Promise(setImmediate);
      await new Promise(setImmediate);
      expect(runs).toEqual([1]);
      release();
      await Promise.all([first.outcome, waiting]);
      await Promise.all([run(['a'.repeat(64)]), run(['b'.repeat(64)], { served: other })]);
      expect(runs).toEqual([1, 1, 1, 1]);
    });

    it('notes that the first run of a model did not end', async () => {
      const { run, overrun, stuck, costOf } = createFixture({ processes: 2 });
      const bad = run(['{']).catch((error: unknown) => error);
      await until(() => stuck.length === 1);
      expect(costOf().onlyOverran).toBe(false);
      overrun();
      expect(await bad).toMatchObject({ code: 'inference_timeout' });
      expect(costOf().onlyOverran).toBe(true);
    });

    it('answers a model of which no run has ended beside a text that has the whole time', async () => {
      const { run, overrun, stuck, limits } = createFixture({ processes: 2 });
      await run(['abc']);
      const bad = run(['{']).catch((error: unknown) => error);
      await until(() => stuck.length === 1);
      overrun();
      await until(() => stuck.length === 1);
      const other = { ...characterModel(), key: 'characters/2' };
      expect([...(await run(['abc'], { served: other }))]).toEqual([sumOf('abc')]);
      expect([stuck.length, limits.slice(-2)]).toEqual([1, [TIMEOUT_MS, TIMEOUT_MS]]);
      overrun();
      expect(await bad).toMatchObject({ code: 'inference_timeout' });
    });

    it('answers a text that overran by itself and then was done, once, and remembers how long it took', async () => {
      const { run, begin, overrun, succeed, stuck, limits } = createFixture({ processes: 2 });
      await run(['abc']);
      const slow = '{'.repeat(64);
      const work = begin([slow, '~'.repeat(63)]);
      await until(() => limits.length === 3);
      overrun();
      await until(() => stuck.length === 1);
      expect(limits.at(-1)).toBe(TIMEOUT_MS);
      succeed();
      await until(() => limits.length === 4);
      work.cancel();
      expect(await work.outcome).toEqual({ state: 'canceled', ranTokens: 64 });
      for (let times = 0; times < 500; times += 1) await run(['abc']);
      const again = run([slow]);
      await until(() => stuck.length === 1);
      expect(limits.at(-1)).toBeGreaterThan(SLOW_MS);
      succeed();
      expect([...(await again)]).toEqual([sumOf(slow)]);
    });

    it('lets others have the process of such a text first where another is busy', async () => {
      const { run, begin, release, overrun, stuck } = createFixture({ processes: 2 });
      await run(['abc']);
      const jobs = [run(['{'.repeat(64)]), run(['{'.repeat(60)])].map((job) => job.catch((error: unknown) => error));
      await until(() => stuck.length === 2);
      overrun();
      await until(() => stuck.length === 1);
      const busy = begin(['}']);
      await busy.begun;
      const other = begin(['b}'.repeat(32)]);
      await delay(20);
      overrun();
      await other.begun;
      expect(stuck).toHaveLength(0);
      release();
      await until(() => stuck.length === 1);
      overrun();
      await Promise.all([...jobs, busy.outcome, other.outcome]);
    });

    it('runs the next of them when one is cancelled, though its process is not replaced yet', async () => {
      const { run, begin, overrun, reload, stuck, limits } = createFixture({ processes: 2, reloads: false });
      await run(['abc']);
      const [first, second] = [begin(['{'.repeat(64)]), begin(['{'.repeat(60)])];
      await until(() => stuck.length === 2);
      overrun();
      await until(() => limits.length === 3);
      await new Promise(setImmediate);
      reload();
      await until(() => limits.length === 4);
      first.cancel();
      expect(await first.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      await until(() => limits.length === 5);
      expect(limits.slice(-2)).toEqual([TIMEOUT_MS, TIMEOUT_MS]);
      overrun();
      await expect(second.outcome).rejects.toMatchObject({ code: 'inference_timeout' });
    });
  });

  describe('that is asked to cancel work', () => {
    it('lets a run go on for as long as such runs take', async () => {
      const { begin, costOf, release, stops } = createFixture({ loadMs: 60_000 });
      costOf().observe(10, 20_000);
      const work = begin(['a}']);
      await work.begun;
      work.cancel();
      // Longer than the grace: were the run to be stopped, it would be by now.
      await delay(30);
      release();
      expect(await work.outcome).toMatchObject({ state: 'ran' });
      expect(stops).toEqual([]);
    });

    it('stops a run sooner that takes longer than a process takes to load', async () => {
      const { begin, costOf, stops } = createFixture({ loadMs: 10 });
      costOf().observe(10, 20_000);
      const work = begin(['a~']);
      await work.begun;
      work.cancel();
      expect(await work.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      expect(stops).toEqual([1]);
    });

    it('takes texts that wait out at once, while others go on', async () => {
      const { run, begin, runs, release, scheduler } = createFixture();
      const long = begin(['}']);
      await long.begun;
      const waiting = begin(['abc', 'def']);
      const alone = begin(['ghi'], { alone: true });
      const other = run(['jbl']);
      expect(scheduler.waiting).toBe(4);
      waiting.cancel();
      alone.cancel();
      expect(scheduler.waiting).toBe(1);
      expect(await waiting.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      expect(await alone.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      release();
      expect([...(await other)]).toEqual([sumOf('jbl')]);
      expect(await long.outcome).toMatchObject({ state: 'ran' });
      expect(runs).toEqual([1, 1]);
    });

    it('stops a run in which nothing else is left, and counts the texts that ran before', async () => {
      const { run, begin, runs, stops, scheduler } = createFixture();
      const work = begin(['abcd', '~'.repeat(60), 'e'.repeat(60)]);
      await work.begun;
      while (runs.length < 2) await new Promise(setImmediate);
      work.cancel();
      expect(await work.outcome).toEqual({ state: 'canceled', ranTokens: 4 });
      expect([stops, scheduler.waiting]).toEqual([[1], 0]);
      expect([...(await run(['a']))]).toEqual([97]);
      expect(runs).toEqual([1, 1, 1]);
    });

    it('lets a run go on that other work shares, and counts what ran in it', async () => {
      const { begin, runs, stops, release } = createFixture();
      const work = begin(['ab', 'c'.repeat(64)]);
      const other = begin(['d}']);
      await other.begun;
      work.cancel();
      // Longer than the grace: were the run to be stopped, it would be by now.
      await new Promise((resolve) => setTimeout(resolve, 20));
      release();
      expect(await work.outcome).toEqual({ state: 'canceled', ranTokens: 2 });
      expect(await other.outcome).toMatchObject({ state: 'ran' });
      expect([runs, stops]).toEqual([[2], []]);
    });

    it('stops a run when the last of the jobs that share it is cancelled', async () => {
      const { begin, runs, stops } = createFixture();
      const [first, second] = [begin(['a~']), begin(['b~'])];
      await second.begun;
      first.cancel();
      second.cancel();
      expect(await first.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      expect(await second.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      expect([runs, stops]).toEqual([[2], [2]]);
    });

    it('gives the whole result when every text ran before the run could be stopped', async () => {
      const { begin, release, stops } = createFixture();
      const work = begin(['a}']);
      await work.begun;
      work.cancel();
      release();
      expect(await work.outcome).toEqual({ state: 'ran', rows: Float32Array.of(sumOf('a}')) });
      expect(stops).toEqual([]);
    });

    it('does not run the texts of a batch that went wrong again', async () => {
      const { begin, runs } = createFixture();
      const work = begin(['ax', 'bc']);
      await work.begun;
      work.cancel();
      expect(await work.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      expect(runs).toEqual([2]);
    });

    it('does nothing when the work has ended, or is asked twice', async () => {
      const { begin, scheduler } = createFixture();
      const work = begin(['abc']);
      const outcome = await work.outcome;
      work.cancel();
      expect(await work.outcome).toBe(outcome);
      const waiting = begin(['abc']);
      waiting.cancel();
      waiting.cancel();
      expect(await waiting.outcome).toEqual({ state: 'canceled', ranTokens: 0 });
      expect(scheduler.waiting).toBe(0);
    });
  });
});
