import { describe, expect, it } from '@jest/globals';
import type { AppProcess } from '../app-process.js';
import { createKeeper } from './keeper.js';

/** An app whose process ends when the test says so; its first starts after the first one fail as often as told. */
function appThatEnds({ failingStarts = 0 } = {}) {
  let starts = 1;
  let end = (): void => undefined;
  let exited = new Promise<void>((resolve) => (end = resolve));
  let restarted = (): void => undefined;
  const app: AppProcess = {
    ...{ app: 'ml-worker', name: 'ml-worker-1', logFile: '', pid: 1, port: undefined, opsPort: undefined, exitCode: 1 },
    get exited() {
      return exited;
    },
    stop: async () => 0,
    kill: async () => end(),
    signal: () => true,
    async restart() {
      starts += 1;
      if (starts <= 1 + failingStarts) throw new Error('not yet');
      exited = new Promise<void>((resolve) => (end = resolve));
      restarted();
    },
  };
  return {
    ...{ app, starts: () => starts, end: () => end() },
    /** Resolves at the next start that succeeds. */
    nextStart: () => new Promise<void>((resolve) => (restarted = resolve)),
  };
}

describe('the keeper', () => {
  it('starts an app again that ended by itself, as often as it takes, and remembers it', async () => {
    const { app, end, nextStart, starts } = appThatEnds({ failingStarts: 1 });
    const lines: string[] = [];
    const keeper = createKeeper([app], (line) => lines.push(line));
    const started = nextStart();
    end();
    await started;
    expect(starts()).toBe(3);
    expect(keeper.unexpectedExits).toMatchObject([{ app: 'ml-worker-1', exitCode: 1 }]);
    expect(lines.join('\n')).toMatch(/ended by itself.*\n.*did not start.*not yet/);
    keeper.stop();
  });

  it('leaves an app down that a fault has taken, until it is given back, and then watches it again', async () => {
    const { app, end, nextStart, starts } = appThatEnds();
    const keeper = createKeeper([app], () => undefined);
    keeper.take(app);
    await app.kill();
    await app.exited;
    expect(starts()).toBe(1);
    await keeper.giveBack(app);
    expect(starts()).toBe(2);
    expect(keeper.unexpectedExits).toEqual([]);
    const started = nextStart();
    end();
    await started;
    expect(keeper.unexpectedExits).toHaveLength(1);
    keeper.stop();
  });

  it('starts nothing any more once it is stopped', async () => {
    const { app, end, starts } = appThatEnds();
    const keeper = createKeeper([app], () => undefined);
    keeper.stop();
    end();
    await app.exited;
    expect(starts()).toBe(1);
  });
});
