import { getEventListeners } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { InferenceHost, InferenceHostOptions } from '../src/inference/inference-host.js';
import { openInferenceFixture, runTexts, type InferenceFixture } from './inference-fixture.js';
import { REFUSED, SLOW } from './tiny-model.js';

const KEY = 'tiny/1';

describe('an inference host', () => {
  let fixture: InferenceFixture;
  let host: InferenceHost;

  beforeAll(async () => {
    fixture = await openInferenceFixture();
  });

  afterEach(async () => {
    expect(await fixture.endHosts()).toEqual([]);
  });

  afterAll(() => fixture.remove());

  async function start(options: Partial<InferenceHostOptions> = {}): Promise<void> {
    host = fixture.create(options);
    await host.start();
  }

  const run = (...texts: readonly string[]) => runTexts(fixture, host, KEY, ...texts);

  /** Resolves when a process is idle. */
  async function idle(): Promise<void> {
    if (host.idle === 0) await new Promise<void>((resolve) => host.onIdle(resolve));
  }

  it('returns a row for each text, padding not counted', async () => {
    await start();
    expect(await run('a', 'ab', '')).toEqual([97, 195, 0]);
  });

  it('tells how long the session took, which is less than the whole way', async () => {
    await start();
    const beganMs = performance.now();
    const { computeMs, cpuMs } = await host.run(KEY, [fixture.tokenizer.encode('a')]);
    expect(cpuMs).toBeGreaterThan(0);
    expect(computeMs).toBeGreaterThan(0);
    expect(computeMs).toBeLessThan(performance.now() - beganMs);
  });

  it('can run the models it has while a process is idle', async () => {
    await start();
    expect(host.canRun(KEY)).toBe(true);
    expect(host.loadMs).toBeGreaterThan(0);
    expect(host.canRun('huge')).toBe(false);
    const running = run('a');
    expect(host.canRun(KEY)).toBe(false);
    await running;
    expect(host.canRun(KEY)).toBe(true);
  });

  it('rejects a run that the model refuses and works on in the same process', async () => {
    await start();
    const pids = host.pids;
    await expect(run('a', REFUSED)).rejects.toMatchObject({
      code: 'inference_failed',
      // n.b. the index that is out of bounds is a part of the text.
      cause: { message: 'The model could not process the input: a node of Gather failed' },
    });
    expect(await run('b')).toEqual([98]);
    expect(host.pids).toEqual(pids);
  });

  it('kills a process that overruns and replaces it', async () => {
    await start({ timeoutMs: 500 });
    const [first] = host.pids;
    await expect(run(SLOW)).rejects.toMatchObject({ code: 'inference_timeout' });
    await idle();
    expect(host.pids).not.toContain(first);
    expect(await run('c')).toEqual([99]);
  });

  it('rejects a run whose process is killed and replaces the process', async () => {
    await start();
    const [first = 0] = host.pids;
    const lost = expect(run(SLOW)).rejects.toMatchObject({ code: 'inference_crashed' });
    process.kill(first, 'SIGKILL');
    await lost;
    await idle();
    expect(await run('c')).toEqual([99]);
  });

  it('ends a run that is not wanted any more together with its process, and replaces that at once each time', async () => {
    await start();
    for (let time = 0; time < 3; time += 1) {
      const [pid] = host.pids;
      const stop = new AbortController();
      const stopped = expect(host.run(KEY, [fixture.tokenizer.encode(SLOW)], { stop: stop.signal })).rejects.toBe(
        'not wanted',
      );
      stop.abort('not wanted');
      await stopped;
      await idle();
      expect(host.pids).toHaveLength(1);
      expect(host.pids).not.toContain(pid);
    }
    expect(await run('c')).toEqual([99]);
  });

  it('leaves a process alone whose run has ended before it was not wanted any more', async () => {
    await start();
    const pids = host.pids;
    const stop = new AbortController();
    await host.run(KEY, [fixture.tokenizer.encode('a')], { stop: stop.signal });
    const next = run('b');
    stop.abort();
    expect(await next).toEqual([98]);
    expect(host.pids).toEqual(pids);
  });

  it('listens for the end of a run no longer than the run lasts', async () => {
    await start();
    const stop = new AbortController();
    for (let runs = 0; runs < 3; runs += 1) await host.run(KEY, [Int32Array.of(1)], { stop: stop.signal });
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });

  it('replaces a process that dies while idle', async () => {
    await start();
    const [first = 0] = host.pids;
    const replaced = new Promise<void>((resolve) => host.onIdle(resolve));
    process.kill(first, 'SIGKILL');
    await replaced;
    expect(await run('c')).toEqual([99]);
  });

  it('survives signals of the terminal, which are meant for the worker', async () => {
    await start();
    const [first = 0] = host.pids;
    process.kill(first, 'SIGINT');
    process.kill(first, 'SIGTERM');
    expect(await run('d')).toEqual([100]);
    expect(host.pids).toEqual([first]);
  });

  it('lends out as many processes as it has, each to one run at a time', async () => {
    await start({ processes: 2 });
    while (host.warm < 2) await new Promise<void>((resolve) => host.onIdle(resolve));
    const runs = [run('a'), run('b')];
    expect(host.idle).toBe(0);
    await expect(run('c')).rejects.toMatchObject({ code: 'model_unavailable' });
    expect(await Promise.all(runs)).toEqual([[97], [98]]);
    expect(host.idle).toBe(2);
  });

  it('kills a process that is still running when it is stopped', async () => {
    await start();
    const lost = expect(run(SLOW)).rejects.toMatchObject({ code: 'inference_crashed' });
    await host.stop();
    await lost;
  });

  it('does not start with a model that cannot be loaded', async () => {
    const modelPath = join(fixture.directory, 'broken.onnx');
    await writeFile(modelPath, 'not a model');
    host = fixture.create({ models: [{ key: 'broken', model: { ...fixture.tiny('1').model, modelPath } }] });
    await expect(host.start()).rejects.toMatchObject({
      code: 'model_unavailable',
      cause: expect.stringMatching(/^broken: .*cannot be loaded/),
    });
  });

  it('can be stopped before it was started, and twice', async () => {
    host = fixture.create();
    await host.stop();
    await start();
    await Promise.all([host.stop(), host.stop()]);
    expect(host.pids).toEqual([]);
  });
});
