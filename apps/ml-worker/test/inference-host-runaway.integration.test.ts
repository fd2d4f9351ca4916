import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { delay } from '@sluice/runtime';
import type { InferenceHost, InferenceHostOptions } from '../src/inference/inference-host.js';
import { openInferenceFixture, runTexts, untilCanRun, type InferenceFixture } from './inference-fixture.js';
import { ENDLESS, GREEDY } from './tiny-model.js';

const misbehaving = fileURLToPath(new URL('misbehaving-process.mjs', import.meta.url));
const MEBIBYTE = 2 ** 20;
const KEY = 'tiny/1';

let fixture: InferenceFixture;
let host: InferenceHost;

beforeAll(async () => {
  fixture = await openInferenceFixture();
});

afterEach(async () => {
  expect(await fixture.endHosts()).toEqual([]);
});

afterAll(() => fixture.remove());

const run = (...texts: readonly string[]) => runTexts(fixture, host, KEY, ...texts);

async function start(options: Partial<InferenceHostOptions>): Promise<void> {
  host = fixture.create(options);
  await host.start();
}

/** The host works, and with another process than before. */
async function expectReplaced(pids: readonly number[]): Promise<void> {
  await untilCanRun(host, KEY);
  expect(host.pids).toHaveLength(pids.length);
  expect(host.pids).not.toEqual(pids);
  expect(await run('c')).toEqual([99]);
}

describe('a run that never ends', () => {
  it('is ended in time, and the next one runs', async () => {
    await start({ timeoutMs: 500 });
    const { pids } = host;
    await expect(run(ENDLESS)).rejects.toMatchObject({ code: 'inference_timeout' });
    await expectReplaced(pids);
  });

  it('is ended earlier by a limit of its own, and says which', async () => {
    await start({ timeoutMs: 60_000 });
    const { pids } = host;
    const endless = host.run(KEY, [fixture.tokenizer.encode(ENDLESS)], { limitMs: 400 });
    await expect(endless).rejects.toMatchObject({
      code: 'inference_timeout',
      message: 'Inference took longer than 400 ms.',
    });
    await expectReplaced(pids);
  });

  it('does not keep another process from running', async () => {
    await start({ processes: 2, timeoutMs: 60_000 });
    while (host.idle < 2) await delay(10);
    const endless = expect(run(ENDLESS)).rejects.toMatchObject({ code: 'inference_crashed' });
    for (let time = 0; time < 10; time += 1) expect(await run('a')).toEqual([97]);
    await host.stop();
    await endless;
  });
});

describe('a worker that stands still during a run', () => {
  it('does not take that for a run that never ends', async () => {
    await start({ timeoutMs: 300 });
    const { pids } = host;
    const running = run('a');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
    expect(await running).toEqual([97]);
    expect(await run('b')).toEqual([98]);
    expect(host.pids).toEqual(pids);
  });
});

describe('a run that takes too much memory', () => {
  it('is ended while it goes on, and says so', async () => {
    await start({ memoryLimitBytes: 400 * MEBIBYTE, memoryCheckMs: 10 });
    const { pids } = host;
    await expect(run(GREEDY)).rejects.toMatchObject({
      code: 'inference_crashed',
      message: 'The run took the inference process beyond the 400 MiB of memory that it may use.',
    });
    await expectReplaced(pids);
  });

  it('is noticed afterwards when it was too short: its process is replaced', async () => {
    await start({ memoryLimitBytes: 400 * MEBIBYTE, memoryCheckMs: 60_000 });
    const { pids } = host;
    expect(await run(GREEDY)).toEqual([GREEDY.charCodeAt(0)]);
    expect(host.idle).toBe(0);
    await expectReplaced(pids);
  });

  it('is replaced after growing pauses when each process does so at once, and said once', async () => {
    const lines: unknown[] = [];
    const logger = { ...fixture.logger, warn: (fields: object, text: string) => void lines.push([text, fields]) };
    await start({ logger: logger as never, memoryLimitBytes: 400 * MEBIBYTE, memoryCheckMs: 60_000 });
    for (let time = 0; time < 4; time += 1) {
      expect(await run(GREEDY)).toEqual([GREEDY.charCodeAt(0)]);
      await untilCanRun(host, KEY);
    }
    await run(GREEDY);
    const beganMs = performance.now();
    await untilCanRun(host, KEY);
    // 0, 100, 200 and 400 ms before.
    expect(performance.now() - beganMs).toBeGreaterThan(800);
    expect(lines).toEqual([[expect.stringMatching(/too large/), expect.objectContaining({ processes: 1 })]]);
  });

  it('goes on without a limit', async () => {
    await start({});
    const { pids } = host;
    expect(await run(GREEDY)).toEqual([GREEDY.charCodeAt(0)]);
    expect(await run('c')).toEqual([99]);
    expect(host.pids).toEqual(pids);
  });

  it('does not come to be when the models alone take too much', async () => {
    host = fixture.create({ memoryLimitBytes: 10 * MEBIBYTE });
    await expect(host.start()).rejects.toMatchObject({
      code: 'model_unavailable',
      message: expect.stringMatching(/loading the models takes \d+ MiB of memory, more than the 10 MiB allowed$/),
    });
  });
});

describe('a process that', () => {
  const start1 = () => start({ modulePath: misbehaving, timeoutMs: 1_000 });

  it.each([
    ['exits', 'e', 'inference_crashed', 'the inference process ended: exit code 3'],
    ['aborts', 'a', 'inference_crashed', 'the inference process ended: SIGABRT'],
    ['is killed', 'k', 'inference_crashed', 'the inference process ended: SIGKILL'],
    ['writes nonsense', 'n', 'inference_crashed', 'the inference process wrote nonsense'],
    ['never answers', 's', 'inference_timeout', undefined],
  ])('%s fails its own run only', async (_what, text, code, cause) => {
    await start1();
    const { pids } = host;
    await expect(run(text)).rejects.toMatchObject({ code, ...(cause !== undefined && { cause }) });
    await expectReplaced(pids);
  });

  it('gives a result that cannot be read takes no other run', async () => {
    await start1();
    const { pids } = host;
    await expect(run('r')).rejects.toMatchObject({ message: 'The inference process gave nonsense.' });
    expect([host.idle, host.canRun(KEY)]).toEqual([0, false]);
    await expectReplaced(pids);
  });

  it('is stopped from outside is ended in time', async () => {
    await start({ timeoutMs: 500 });
    const { pids } = host;
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    await expect(run('a')).rejects.toMatchObject({ code: 'inference_timeout' });
    await expectReplaced(pids);
  });
});

describe('an execution provider that is not there', () => {
  it('keeps the host from starting, with a reason', async () => {
    // n.b. there is no such card in any machine, whatever libraries it has.
    host = fixture.create({ provider: { name: 'cuda', deviceId: 255 } });
    await expect(host.start()).rejects.toMatchObject({
      code: 'model_unavailable',
      message: expect.stringMatching(
        /tiny\/1: execution provider "cuda" was asked for and is not available on this machine: \S/,
      ),
    });
  });
});
