import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { delay } from '@sluice/runtime';
import type { InferenceHost, InferenceHostOptions } from '../src/inference/inference-host.js';
import type { KeyedModel } from '../src/inference/inference-protocol.js';
import { openInferenceFixture, runTexts, untilCanRun, untilRead, type InferenceFixture } from './inference-fixture.js';

jest.setTimeout(60_000);

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
  await untilIdle(options.processes ?? 1);
}

async function untilIdle(processes: number): Promise<void> {
  while (host.idle < processes) await delay(5);
}

const run = (key: string) => runTexts(fixture, host, key, 'a');

/** A model whose file can be damaged, mended and removed without harm to others. */
async function fragile() {
  const { modelPath: whole } = fixture.tiny('1').model;
  const modelPath = join(fixture.directory, 'fragile.onnx');
  const mend = (): Promise<void> => copyFile(whole, modelPath);
  await mend();
  const keyed: KeyedModel = { key: 'fragile/1', model: { ...fixture.tiny('1').model, modelPath } };
  return { keyed, mend, damage: () => writeFile(modelPath, 'no model'), remove: () => rm(modelPath) };
}

/** A model whose loading lasts until `end` is called. */
function endless() {
  const modelPath = join(fixture.directory, 'endless.onnx');
  execFileSync('mkfifo', [modelPath]);
  const keyed: KeyedModel = { key: 'endless/1', model: { ...fixture.tiny('1').model, modelPath } };
  return {
    keyed,
    isLoading: () => untilRead(modelPath),
    end: (writing: number) => {
      closeSync(writing);
      return rm(modelPath);
    },
  };
}

async function kill(pid: number | undefined): Promise<void> {
  process.kill(pid ?? 0, 'SIGKILL');
  while (host.pids.includes(pid ?? 0)) await delay(2);
}

describe('a model that cannot be loaded any more', () => {
  it('takes neither processes nor other models with it, and comes back', async () => {
    const { keyed, damage, mend } = await fragile();
    const models = [fixture.tiny('1'), keyed];
    await start({ models, processes: 2 });
    await damage();
    const [first, second] = host.pids;
    await kill(first);
    while (host.leftOut.size === 0) await delay(5);
    await untilIdle(2);
    expect([...host.leftOut]).toEqual([['fragile/1', expect.stringMatching(/cannot be loaded/)]]);
    // The other process still has it.
    expect([host.unavailable.size, await run('fragile/1')]).toEqual([0, [97]]);

    let told = 0;
    host.onIdle(() => (told += 1));
    await kill(second);
    expect([...host.unavailable]).toEqual([...host.leftOut]);
    expect(told).toBeGreaterThan(0);
    await untilIdle(2);
    expect([host.canRun('fragile/1'), await run('tiny/1')]).toEqual([false, [97]]);

    const hooks = { onServing: () => undefined, stillNeeded: () => false };
    const { pids } = host;
    await host.serve(models, hooks);
    expect(host.pids).toEqual(pids);
    await host.serve([...models, fixture.tiny('2')], hooks);
    expect([await run('tiny/2'), [...host.unavailable.keys()]]).toEqual([[97], ['fragile/1']]);

    await mend();
    await host.serve([...models, fixture.tiny('2')], hooks);
    await untilIdle(2);
    expect([host.leftOut.size, host.unavailable.size, await run('fragile/1')]).toEqual([0, 0, [97]]);
  });

  it('is tried again for ever when it is the only one', async () => {
    const { keyed, damage, mend } = await fragile();
    await start({ models: [keyed] });
    await damage();
    await kill(host.pids[0]);
    await delay(500);
    expect([host.leftOut.size, host.unavailable.size]).toEqual([0, 0]);
    await mend();
    await untilCanRun(host, 'fragile/1');
  });

  it('does not keep a change from its end when its texts still wait', async () => {
    const { keyed, remove } = await fragile();
    await start({ models: [keyed] });
    const [old] = host.pids;
    let reason: string | undefined;
    let markServing: () => void = () => undefined;
    const serving = new Promise<void>((resolve) => (markServing = resolve));
    const done = host.serve([fixture.tiny('2')], {
      onServing: markServing,
      stillNeeded(key) {
        reason = host.unavailable.get(key);
        return reason === undefined;
      },
    });
    await serving;
    await remove();
    await kill(old);
    await done;
    expect(reason).toMatch(/fragile\/1/);
    expect(host.unavailable.size).toBe(0);
    await host.serve([fixture.tiny('1')], { onServing: () => undefined, stillNeeded: () => false });
    expect(await run('tiny/1')).toEqual([97]);
  });
});

describe('a start', () => {
  it('goes on when one of the processes ends before it is warm', async () => {
    host = fixture.create({ processes: 2 });
    const starting = host.start();
    process.kill(host.pids[0] ?? 0, 'SIGKILL');
    await starting;
    await untilIdle(2);
    expect(await run('tiny/1')).toEqual([97]);
  });

  it('ends when loading takes too long, and does not claim that the model said so', async () => {
    const { keyed, isLoading, end } = endless();
    host = fixture.create({ models: [keyed], loadTimeoutMs: 5_000 });
    const started = expect(host.start()).rejects.toMatchObject({
      model: 'endless/1',
      reason: 'the inference process took longer than 5000 ms',
      wordless: true,
    });
    const writing = await isLoading();
    await started;
    await end(writing);
  });

  it('that is given up blames no model, and none is started after', async () => {
    const { keyed, isLoading, end } = endless();
    host = fixture.create({ models: [keyed] });
    const started = host.start().catch((error: unknown) => error);
    const writing = await isLoading();
    await host.stop();
    const error = await started;
    expect(error).toMatchObject({ code: 'model_unavailable' });
    expect(error).not.toHaveProperty('model');
    await end(writing);
    await expect(host.start([fixture.tiny('1')])).rejects.toMatchObject({ code: 'model_unavailable' });
    await expect(
      host.serve([fixture.tiny('1')], { onServing: () => undefined, stillNeeded: () => false }),
    ).rejects.toMatchObject({ code: 'model_unavailable' });
    expect(host.pids).toEqual([]);
  });
});

describe('a process that cannot be started', () => {
  it('fails the start', async () => {
    host = fixture.create({ environment: { BAD: '\0' } });
    await expect(host.start()).rejects.toMatchObject({
      code: 'model_unavailable',
      cause: expect.stringMatching(/^the inference process could not be started: /),
    });
  });

  it('is tried again when it was to replace another', async () => {
    const environment = { ...process.env };
    await start({ environment });
    environment['BAD'] = '\0';
    await kill(host.pids[0]);
    await delay(50);
    expect([host.warm, host.pids]).toEqual([0, []]);
    delete environment['BAD'];
    await untilCanRun(host, 'tiny/1');
    expect(await run('tiny/1')).toEqual([97]);
  });

  it('is gone at once when no file descriptors are left', () => {
    const script = fileURLToPath(new URL('descriptors-process.mjs', import.meta.url));
    const said = execFileSync('sh', ['-c', 'ulimit -n 512; exec "$0" "$1"', process.execPath, script], {
      encoding: 'utf8',
    });
    expect(JSON.parse(said)).toEqual({
      state: 'gone',
      code: 'model_unavailable',
      cause: 'the inference process could not be started: no file descriptors are left',
    });
  });
});
