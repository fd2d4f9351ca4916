import { setTimeout as sleep } from 'node:timers/promises';
import type { LocalServer } from '@sluice/local-services';
import type { AppProcess } from './app-process.js';

export interface SupervisionOptions {
  readonly apps: readonly AppProcess[];
  readonly servers: readonly LocalServer[];
  /** Told what ended and what became of it, for people. */
  readonly report: (line: string) => void;
  /** Called after each restart, when pids have changed. */
  readonly onRestart: () => Promise<void>;
}

/** Watches what `npm start` has started. */
export interface Supervision {
  /** Resolves, never rejects, when a server is gone and cannot be brought back. */
  readonly failed: Promise<Error>;
  /** Ends the watch; resolves when no server is being restarted any more. */
  stop(): Promise<void>;
}

const APP_RESTART_DELAY_MS = 1_000;
const SERVER_POLL_MS = 250;
const SERVER_ATTEMPTS = 5;
/** Between attempts; child processes of a server that was killed may need a moment to notice. */
const SERVER_RETRY_MS = 1_000;

/**
 * Starts again what ends although nobody told it to, as a cluster would: apps for ever, servers (those this start has
 * made from binaries) on the same port and data, in at most five attempts.
 */
export function supervise({ apps, servers, report, onRestart }: SupervisionOptions): Supervision {
  const ending = new AbortController();
  const { signal } = ending;
  const stopped = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

  async function noteRestart(): Promise<void> {
    await onRestart().catch((error: unknown) => report(messageOf(error)));
  }

  async function watchApp(app: AppProcess): Promise<void> {
    while (!signal.aborted) {
      await Promise.race([app.exited, stopped]);
      if (signal.aborted) return;
      report(`${app.name} ended; see ${app.logFile}. Starting it again.`);
      if (await aborted(APP_RESTART_DELAY_MS, signal)) return;
      try {
        await app.restart();
        await noteRestart();
      } catch (error) {
        if (!signal.aborted) report(messageOf(error));
      }
    }
  }

  /** Resolves when the watch ends. @throws Error when the server cannot be brought back. */
  async function watchServer(server: LocalServer): Promise<void> {
    let pid = pidOf(server);
    while (!(await aborted(SERVER_POLL_MS, signal))) {
      if (pidOf(server) !== undefined) continue;
      report(`${server.name} (pid ${pid}) ended. Starting it again on its data.`);
      if (!(await restartServer(server, signal))) return;
      pid = pidOf(server);
      report(`${server.name} answers again (pid ${pid}).`);
      await noteRestart();
    }
  }

  for (const app of apps) void watchApp(app);
  const watches = servers.filter(({ source }) => source === 'binaries').map(watchServer);
  const failed = new Promise<Error>((resolve) => {
    for (const watch of watches) watch.catch(resolve);
  });
  return {
    failed,
    async stop() {
      ending.abort();
      await Promise.allSettled(watches);
    },
  };
}

/** True when it answers, false when `signal` has aborted first. Throws what the last attempt threw. */
async function restartServer(server: LocalServer, signal: AbortSignal): Promise<boolean> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      await server.restart();
      return true;
    } catch (error) {
      if (attempt === SERVER_ATTEMPTS) {
        throw new Error(`${server.name} ended and could not be started again: ${messageOf(error)}`, { cause: error });
      }
    }
    await aborted(SERVER_RETRY_MS, signal);
  }
  return false;
}

/** n.b. it changes by itself, which a property read twice would hide from the compiler. */
function pidOf(server: LocalServer): number | undefined {
  return server.pid;
}

/** True when `signal` has aborted, else false after `delayMs`. */
async function aborted(delayMs: number, signal: AbortSignal): Promise<boolean> {
  await sleep(delayMs, undefined, { signal }).catch(() => undefined);
  return signal.aborted;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
