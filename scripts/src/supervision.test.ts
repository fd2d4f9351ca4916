import { describe, expect, it, jest } from '@jest/globals';
import type { LocalServer } from '@sluice/local-services';
import type { AppProcess } from './app-process.js';
import { supervise } from './supervision.js';

/** A server that is down and comes back at the given attempt. */
function deadServer(comesBackAt: number) {
  let pid: number | undefined;
  let attempts = 0;
  const server: LocalServer = {
    name: 'redis',
    source: 'binaries',
    url: 'redis://127.0.0.1:1',
    get pid() {
      return pid;
    },
    kill: async () => undefined,
    async restart() {
      attempts += 1;
      if (attempts < comesBackAt) throw new Error(`attempt ${attempts} failed`);
      pid = 77;
    },
    pause: () => undefined,
    resume: () => undefined,
    dataDirectory: undefined,
    administer: async () => '',
  };
  return { server, attempts: () => attempts };
}

const NO_APPS: readonly AppProcess[] = [];

describe('supervise', () => {
  it('starts a server again that ended, and says so before and after', async () => {
    const { server } = deadServer(2);
    const lines: string[] = [];
    await new Promise<void>((resolve) => {
      const report = (line: string): void => void lines.push(line);
      const supervision = supervise({
        apps: NO_APPS,
        servers: [server],
        report,
        onRestart: async () => {
          resolve();
          void supervision.stop();
        },
      });
    });
    expect(lines).toEqual([
      expect.stringContaining('redis (pid undefined) ended'),
      expect.stringContaining('redis answers again (pid 77)'),
    ]);
  });

  it('gives up after five attempts with the last reason', async () => {
    const { server, attempts } = deadServer(Infinity);
    const onRestart = jest.fn(async () => undefined);
    const supervision = supervise({ apps: NO_APPS, servers: [server], report: () => undefined, onRestart });
    const { message } = await supervision.failed;
    await supervision.stop();
    expect(message).toBe('redis ended and could not be started again: attempt 5 failed');
    expect(attempts()).toBe(5);
    expect(onRestart).not.toHaveBeenCalled();
  });

  it('leaves servers alone that this start has not made', async () => {
    const given = deadServer(1);
    const own = deadServer(1);
    const named: LocalServer = { ...given.server, source: 'environment', pid: undefined };
    await new Promise<void>((resolve) => {
      const onRestart = async (): Promise<void> => {
        void supervision.stop().then(resolve);
      };
      const servers = [named, own.server];
      const supervision = supervise({ apps: NO_APPS, servers, report: () => undefined, onRestart });
    });
    expect({ given: given.attempts(), own: own.attempts() }).toEqual({ given: 0, own: 1 });
  });

  it('starts nothing again once it is stopped', async () => {
    const { server, attempts } = deadServer(1);
    const supervision = supervise({
      apps: NO_APPS,
      servers: [server],
      report: () => undefined,
      onRestart: async () => undefined,
    });
    await supervision.stop();
    expect(attempts()).toBe(0);
  });
});
