import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { delay } from '@sluice/runtime';
import { StarvedRunError } from '../src/inference/inference-child.js';
import type { InferenceHost } from '../src/inference/inference-host.js';
import { openInferenceFixture, type InferenceFixture } from './inference-fixture.js';
import { ENDLESS } from './tiny-model.js';

const KEY = 'tiny/1';
const TIMEOUT_MS = 300;

let fixture: InferenceFixture;

beforeAll(async () => void (fixture = await openInferenceFixture()));
afterEach(async () => expect(await fixture.endHosts()).toEqual([]));
afterAll(() => fixture.remove());

async function start(patience: number): Promise<{ readonly host: InferenceHost; readonly pid: number }> {
  const host = fixture.create({ timeoutMs: TIMEOUT_MS, patience });
  await host.start();
  return { host, pid: host.pids[0] ?? 0 };
}

const run = (host: InferenceHost, text: string) => host.run(KEY, [fixture.tokenizer.encode(text)]);
const failureOf = (running: Promise<unknown>) => running.then(() => undefined).catch((error: unknown) => error);

// A process that is stopped by a signal has as little of the processor as one that all others go before.
describe('a process that has little of the processor', () => {
  it('may take longer by the clock when there is patience with it', async () => {
    const { host, pid } = await start(100);
    process.kill(pid, 'SIGSTOP');
    const running = run(host, 'ab');
    await delay(3 * TIMEOUT_MS);
    process.kill(pid, 'SIGCONT');
    expect([...(await running).rows]).toEqual([97 + 98]);
    expect(host.pids).toEqual([pid]);
  });

  it('is ended at last, which is no word about the model', async () => {
    const { host, pid } = await start(3);
    process.kill(pid, 'SIGSTOP');
    const beganMs = performance.now();
    expect(await failureOf(run(host, 'ab'))).toBeInstanceOf(StarvedRunError);
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(3 * TIMEOUT_MS - 5);
  });

  it('is ended in time when it had the processor', async () => {
    const { host } = await start(100);
    const error = await failureOf(run(host, ENDLESS));
    expect(error).toMatchObject({ code: 'inference_timeout' });
    expect(error).not.toBeInstanceOf(StarvedRunError);
  });

  it('is ended in time by the clock without patience', async () => {
    const { host, pid } = await start(1);
    process.kill(pid, 'SIGSTOP');
    const error = await failureOf(run(host, 'ab'));
    expect(error).toMatchObject({ code: 'inference_timeout' });
    expect(error).not.toBeInstanceOf(StarvedRunError);
  });
});
