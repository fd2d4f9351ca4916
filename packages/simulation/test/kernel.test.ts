import { describe, expect, it } from '@jest/globals';
import { ConnectionLost, createKernel, type Kernel, type KernelOptions } from '../src/kernel/index.js';

const START_MS = Date.UTC(2026, 0, 31, 23, 59);

function kernelOf(options: Partial<KernelOptions> = {}): Kernel {
  return createKernel({ seed: 1, startMs: START_MS, ...options });
}

describe('order', () => {
  it('runs events by time, and those of one moment as they were scheduled', async () => {
    const kernel = kernelOf();
    const seen: string[] = [];
    for (const [delayMs, name] of [
      [2, 'late'],
      [1, 'first'],
      [1, 'second'],
      [0, 'now'],
    ] as const) {
      kernel.schedule(delayMs, undefined, name, () => seen.push(`${name} ${kernel.nowMs - START_MS}`));
    }
    expect(await kernel.run()).toBe('empty');
    expect(seen).toEqual(['now 0', 'first 1', 'second 1', 'late 2']);
  });

  it('finishes all microtasks and ticks of an event before the next begins', async () => {
    const kernel = kernelOf();
    const seen: string[] = [];
    kernel.schedule(0, undefined, 'a', () => {
      void (async () => {
        for (let turn = 0; turn < 200; turn += 1) await Promise.resolve();
        process.nextTick(() => void Promise.resolve().then(() => seen.push('end of a')));
      })();
    });
    kernel.schedule(0, undefined, 'b', () => seen.push('b'));
    await kernel.run();
    expect(seen).toEqual(['end of a', 'b']);
  });

  it('keeps a random order of many events, whatever is cancelled', async () => {
    const kernel = kernelOf();
    const times: number[] = [];
    const expected: number[] = [];
    for (let index = 0; index < 500; index += 1) {
      const delayMs = kernel.random.int(1_000);
      const event = kernel.schedule(delayMs, undefined, 'event', () => times.push(kernel.elapsedMs));
      if (index % 3 === 0) event.cancel();
      else expected.push(delayMs);
    }
    await kernel.run();
    expect(times).toEqual(expected.sort((a, b) => a - b));
  });

  it('ends at a condition, a time, or a number of events, and goes on from there', async () => {
    const kernel = kernelOf();
    let count = 0;
    const tick = (): void => {
      count += 1;
      kernel.schedule(10, undefined, 'tick', tick);
    };
    tick();
    expect(await kernel.run({ until: () => count === 5 })).toBe('until');
    expect(await kernel.run({ maxEvents: 3 })).toBe('events');
    expect(count).toBe(8);
    expect(await kernel.run({ maxMs: 25 })).toBe('time');
    expect(count).toBe(10);
  });
});

describe('processes', () => {
  it('runs nothing of a process that was killed', async () => {
    const kernel = kernelOf();
    const app = kernel.process('app');
    const seen: string[] = [];
    kernel.schedule(1, app, 'before', () => seen.push('before'));
    kernel.schedule(3, app, 'after', () => seen.push('after'));
    kernel.schedule(2, undefined, 'kill', () => app.kill());
    app.onKilled(() => seen.push(kernel.current === undefined ? 'told in the world' : 'told in a process'));
    await kernel.run();
    expect(seen).toEqual(['before', 'told in the world']);
    expect(app.alive).toBe(false);
  });

  it('counts the starts under one name', () => {
    const kernel = kernelOf();
    expect([kernel.process('app').epoch, kernel.process('other').epoch, kernel.process('app').epoch]).toEqual([
      1, 1, 2,
    ]);
  });

  it('lets events of a paused process wait, timers first, each kind in order', async () => {
    const kernel = kernelOf();
    const app = kernel.process('app');
    const seen: string[] = [];
    const note = (text: string): void => void seen.push(`${text} at ${Math.floor(kernel.elapsedMs)}`);
    kernel.schedule(7, app, 'message', () => note('second message'));
    kernel.schedule(6, app, 'message', () => note('first message'));
    kernel.schedule(9, app, 'timer', () => note('timer'), true);
    kernel.schedule(7, undefined, 'world', () => note('world'));
    kernel.schedule(5, undefined, 'pause', () => app.pause(100));
    kernel.schedule(6, undefined, 'look', () => seen.push(app.paused ? 'paused' : 'not paused'));
    await kernel.run();
    expect(app.paused).toBe(false);
    expect(seen).toEqual(['paused', 'world at 7', 'timer at 105', 'first message at 105', 'second message at 105']);
  });

  it('keeps the order of what waits for a process, however often it is paused meanwhile', async () => {
    const kernel = kernelOf({ latency: { typicalMs: 1, longMs: 1, longChance: 0 } });
    const app = kernel.process('app');
    const seen: number[] = [];
    const stream = kernel.stream(app, 'numbers');
    for (let number = 0; number < 40; number += 1)
      kernel.schedule(number, undefined, 'send', () => stream.send(() => seen.push(number)));
    kernel.schedule(5, undefined, 'pause', () => app.pause(10));
    kernel.schedule(12, undefined, 'pause again', () => app.pause(20));
    kernel.schedule(25, undefined, 'and again', () => app.pause(10));
    await kernel.run();
    expect(seen).toEqual(Array.from({ length: 40 }, (_, number) => number));
  });

  it('ends the run with what an event threw', async () => {
    const kernel = kernelOf();
    kernel.schedule(0, undefined, 'bad', () => {
      throw new Error('broken');
    });
    await expect(kernel.run()).rejects.toThrow('broken');
  });
});

describe('crash points', () => {
  async function run(crashAt: readonly number[]): Promise<{ seen: string[]; passed: number; died: string[] }> {
    const kernel = kernelOf({ crashAt });
    const app = kernel.process('app');
    const client = kernel.process('client', { killable: false });
    const seen: string[] = [];
    const died: string[] = [];
    kernel.onCrash((process, label) => died.push(`${process.name}: ${label}`));
    const wire = kernel.stream(undefined, 'wire');
    kernel.schedule(0, client, 'client', () => seen.push('client'));
    kernel.schedule(1, app, 'work', () => {
      seen.push('work');
      wire.send(() => seen.push('sent'));
      void kernel.call(app, 'server', 'ask', () => seen.push('asked')).then(() => seen.push('answered'));
    });
    await kernel.run();
    return { seen: seen.filter((text) => text !== 'client').sort(), passed: kernel.crashPoints.passed, died };
  }

  it('counts each event of a killable process and each message that it sends', async () => {
    expect(await run([])).toEqual({ seen: ['answered', 'asked', 'sent', 'work'], passed: 4, died: [] });
  });

  it.each([
    [1, [], 'app: work'],
    [2, ['work'], 'app: wire'],
    [3, ['sent', 'work'], 'app: ask'],
    [4, ['asked', 'sent', 'work'], 'app: answer of server: ask'],
  ])('kills at point %i: what was sent before arrives, and nothing else', async (point, seen, died) => {
    expect(await run([point])).toEqual({ seen, passed: point, died: [died] });
  });

  it('has none once they are closed', async () => {
    const kernel = kernelOf({ crashAt: [1] });
    const app = kernel.process('app');
    kernel.crashPoints.close();
    kernel.schedule(0, app, 'work', () => undefined);
    await kernel.run();
    expect([app.alive, kernel.crashPoints.passed]).toEqual([true, 0]);
  });
});

describe('the network', () => {
  it('keeps the order of a stream, and drops what is under way when it is cut', async () => {
    const kernel = kernelOf();
    const seen: number[] = [];
    const wire = kernel.stream(undefined, 'wire');
    for (let index = 0; index < 50; index += 1) wire.send(() => seen.push(index));
    wire.cut(40);
    expect(wire.underWay).toBe(40);
    wire.send(() => seen.push(50));
    await kernel.run();
    expect(seen).toEqual([...Array(40).keys(), 50]);
  });

  it('keeps the order of requests and answers of an ordered server, and of no other', async () => {
    for (const ordered of [true, false]) {
      const kernel = kernelOf();
      kernel.server('server', { ordered });
      const [asked, answered]: [number[], number[]] = [[], []];
      for (let index = 0; index < 50; index += 1) {
        void kernel.call(undefined, 'server', 'ask', () => asked.push(index)).then(() => answered.push(index));
      }
      await kernel.run();
      const inOrder = [...Array(50).keys()];
      expect([asked, answered].map((seen) => seen.every((value, index) => value === inOrder[index]))).toEqual([
        ordered,
        ordered,
      ]);
      expect(asked.sort((a, b) => a - b)).toEqual(inOrder);
    }
  });

  it.each([
    ['an error without effect', { effect: false, error: new Error('down') }, [], 'down'],
    ['an error after the effect', { effect: true, error: new Error('reset') }, ['done'], 'reset'],
    ['silence after the effect', { effect: true }, ['done'], undefined],
    ['silence without effect', { effect: false }, [], undefined],
  ])('tells a caller %s', async (_name, fault, effects, message) => {
    const kernel = kernelOf();
    kernel.onCall(({ server, label }) => (server === 'redis' && label === 'reserve' ? fault : undefined));
    const done: string[] = [];
    let told: unknown;
    kernel
      .call(undefined, 'redis', 'reserve', () => done.push('done'))
      .then(
        () => (told = 'an answer'),
        (error: Error) => (told = error.message),
      );
    await kernel.run();
    expect([done, told]).toEqual([effects, message]);
  });

  it('tells a caller what the server threw', async () => {
    const kernel = kernelOf();
    const answer = kernel.call(undefined, 'server', 'ask', () => {
      throw new RangeError('no');
    });
    await Promise.all([kernel.run(), expect(answer).rejects.toThrow(RangeError)]);
  });

  it('resumes steps once each round trip, with the true time', async () => {
    const kernel = kernelOf();
    const times: number[] = [];
    function* steps(): Generator<void, string, number> {
      times.push(yield);
      times.push(yield);
      return 'end';
    }
    const answer = kernel.callSteps(undefined, 'server', 'steps', steps());
    await kernel.run();
    expect(await answer).toBe('end');
    expect(kernel.trace.events).toBe(6);
    expect(times.every((time) => time >= START_MS)).toBe(true);
  });

  it('asks another process, in which the question is answered', async () => {
    const kernel = kernelOf();
    const [client, app] = [kernel.process('client', { killable: false }), kernel.process('app')];
    const seen: unknown[] = [];
    kernel.enter(client, 'go', () => {
      void kernel
        .ask(client, app, 'hello', async () => kernel.current?.name)
        .then((name) => {
          seen.push(name, kernel.current?.name);
        });
    });
    await kernel.run();
    expect(seen).toEqual(['app', 'client']);
  });

  it('says nothing of a death after the answer', async () => {
    const kernel = kernelOf();
    const app = kernel.process('app');
    void kernel.ask(undefined, app, 'hello', () => 'answer').then(() => app.kill());
    await kernel.run();
    expect(kernel.trace.last().map(({ label }) => label)).toEqual(['request: hello', 'answer of app: hello']);
  });

  it.each([
    [0, 'dead before'],
    [5, 'dead while it answers'],
  ])('loses the connection to a process killed after %i ms (%s)', async (killMs) => {
    const kernel = kernelOf();
    const [client, app] = [kernel.process('client', { killable: false }), kernel.process('app')];
    let told: unknown;
    kernel.schedule(killMs, undefined, 'kill', () => app.kill());
    kernel.schedule(1, client, 'go', () => {
      void kernel
        .ask(client, app, 'hello', () => new Promise(() => undefined))
        .catch((error: unknown) => (told = error));
    });
    await kernel.run();
    expect(told).toBeInstanceOf(ConnectionLost);
  });

  it('fails when something is sent in the name of a process that is not running', async () => {
    const kernel = kernelOf();
    const [one, other] = [kernel.process('one'), kernel.process('other')];
    kernel.enter(one, 'go', () => void kernel.call(other, 'server', 'ask', () => 1));
    await expect(kernel.run()).rejects.toThrow('"ask" was sent in the name of other while one was running.');
  });
});

describe('the trace', () => {
  async function hash(seed: number, note = ''): Promise<string> {
    const kernel = kernelOf({ seed });
    const app = kernel.process('app');
    kernel.enter(app, 'go', () => {
      void kernel.call(app, 'server', 'ask', () => kernel.trace.note(note));
    });
    await kernel.run();
    return kernel.trace.hash;
  }

  it('is the same for the same seed, and another for another seed or another outcome', async () => {
    expect(await hash(7)).toBe(await hash(7));
    expect(new Set([await hash(7), await hash(8), await hash(7, 'other')]).size).toBe(3);
  });

  it('remembers the last events', async () => {
    const kernel = kernelOf({ remembered: 2 });
    for (const name of ['a', 'b', 'c']) kernel.schedule(1, undefined, name, () => undefined);
    await kernel.run();
    expect(kernel.trace.last()).toEqual([
      { index: 1, timeUs: 1_000, owner: 'world', label: 'b' },
      { index: 2, timeUs: 1_000, owner: 'world', label: 'c' },
    ]);
  });
});

describe('random numbers', () => {
  it('do not depend on draws of others once forked', () => {
    const [one, other] = [kernelOf().random, kernelOf().random];
    one.next();
    expect(one.fork('part').next()).toBe(other.fork('part').next());
    expect(one.fork('part').next()).not.toBe(one.fork('other part').next());
  });

  it('are spread evenly, for neighbouring seeds too', () => {
    const first = Array.from({ length: 10_000 }, (_, seed) => kernelOf({ seed }).random.next());
    const mean = first.reduce((sum, value) => sum + value, 0) / first.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.015);
    expect(Math.min(...first)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...first)).toBeLessThan(1);
  });
});
