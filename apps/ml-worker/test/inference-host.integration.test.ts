import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createTokenizer, openModelRepository, type Model, type Tokenizer } from '@sluice/models';
import { createLogger } from '@sluice/runtime';
import { createInferenceHost, type InferenceHost } from '../src/inference/inference-host.js';
import { REFUSED, SLOW, writeTinyModel } from './tiny-model.js';
import { isAlive } from './worker-process.js';

const modulePath = fileURLToPath(new URL('../dist/inference/inference-process.js', import.meta.url));
const logger = createLogger({ app: 'test', level: 'silent' });

describe('an inference host', () => {
  let directory: string;
  let model: Model;
  let tokenizer: Tokenizer;
  let host: InferenceHost;
  const everyPid = new Set<number>();

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-inference-'));
    await writeTinyModel(directory);
    model = await (await openModelRepository(directory)).find('tiny', '1');
    tokenizer = await createTokenizer(model);
  });

  afterEach(async () => {
    for (const pid of host.pids) everyPid.add(pid);
    await host.stop();
    expect([...everyPid].filter(isAlive)).toEqual([]);
    everyPid.clear();
  });

  afterAll(() => rm(directory, { recursive: true, force: true }));

  async function start(options: { readonly processes?: number; readonly timeoutMs?: number } = {}) {
    host = create(model, options);
    await host.start();
    for (const pid of host.pids) everyPid.add(pid);
  }

  function create(of: Model, { processes = 1, timeoutMs = 30_000 } = {}): InferenceHost {
    const models = [{ key: 'tiny', model: of }];
    return createInferenceHost({ modulePath, models, environment: process.env, timeoutMs, processes, logger });
  }

  /** The row of each text, one number each. */
  async function run(...texts: readonly string[]): Promise<number[]> {
    const sequences = texts.map((text) => tokenizer.encode(text));
    return [...(await host.run('tiny', sequences)).rows];
  }

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
    const { computeMs } = await host.run('tiny', [tokenizer.encode('a')]);
    expect(computeMs).toBeGreaterThan(0);
    expect(computeMs).toBeLessThan(performance.now() - beganMs);
  });

  it('can run the models it has while a process is idle', async () => {
    await start();
    expect(host.canRun('tiny')).toBe(true);
    expect(host.canRun('huge')).toBe(false);
    const running = run('a');
    expect(host.canRun('tiny')).toBe(false);
    await running;
    expect(host.canRun('tiny')).toBe(true);
  });

  it('rejects a run that the model refuses and works on in the same process', async () => {
    await start();
    const pids = host.pids;
    await expect(run('a', REFUSED)).rejects.toMatchObject({
      code: 'inference_failed',
      cause: expect.stringMatching(/indices/),
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
      const stopped = expect(host.run('tiny', [tokenizer.encode(SLOW)], stop.signal)).rejects.toBe('not wanted');
      stop.abort('not wanted');
      await stopped;
      await idle();
      expect(host.pids).toHaveLength(1);
      expect(host.pids).not.toContain(pid);
      for (const each of host.pids) everyPid.add(each);
    }
    expect(await run('c')).toEqual([99]);
  });

  it('leaves a process alone whose run has ended before it was not wanted any more', async () => {
    await start();
    const pids = host.pids;
    const stop = new AbortController();
    await host.run('tiny', [tokenizer.encode('a')], stop.signal);
    const next = run('b');
    stop.abort();
    expect(await next).toEqual([98]);
    expect(host.pids).toEqual(pids);
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
    const broken = join(directory, 'broken.onnx');
    await writeFile(broken, 'not a model');
    host = create({ ...model, modelPath: broken });
    await expect(host.start()).rejects.toMatchObject({
      code: 'model_unavailable',
      cause: expect.stringMatching(/^tiny: .*cannot be loaded/),
    });
  });

  it('can be stopped before it was started, and twice', async () => {
    host = create(model);
    await host.stop();
    await start();
    await Promise.all([host.stop(), host.stop()]);
    expect(host.pids).toEqual([]);
  });
});
