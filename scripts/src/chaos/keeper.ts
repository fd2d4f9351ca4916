import { setTimeout as sleep } from 'node:timers/promises';
import type { AppProcess } from '../app-process.js';

/** An app that ended although no fault had ended it. */
export interface UnexpectedExit {
  readonly app: string;
  readonly exitCode: number | null;
  readonly at: string;
}

/** Keeps apps running as an orchestrator would, except for those that a fault has taken down. */
export interface Keeper {
  readonly unexpectedExits: readonly UnexpectedExit[];
  /** Until `giveBack` the app may end, and stays down. */
  take(app: AppProcess): void;
  /** Starts the app again, as often as it takes; resolves when it says that it works. */
  giveBack(app: AppProcess): Promise<void>;
  /** Ends the watch; nothing is started any more. */
  stop(): void;
}

const RETRY_MS = 500;

export function createKeeper(apps: readonly AppProcess[], report: (line: string) => void): Keeper {
  const taken = new Set<AppProcess>();
  const exits: UnexpectedExit[] = [];
  const stopped = new AbortController();

  async function bringBack(app: AppProcess): Promise<void> {
    while (!stopped.signal.aborted) {
      try {
        await app.restart();
        return watch(app);
      } catch (error) {
        if (stopped.signal.aborted) return;
        report(`${app.name} did not start, trying again: ${error instanceof Error ? error.message : String(error)}`);
      }
      await sleep(RETRY_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  }

  function watch(app: AppProcess): void {
    void app.exited.then(async () => {
      if (stopped.signal.aborted || taken.has(app)) return;
      exits.push({ app: app.name, exitCode: app.exitCode, at: new Date().toISOString() });
      report(`${app.name} ended by itself (exit code ${app.exitCode}); starting it again`);
      await bringBack(app);
    });
  }

  for (const app of apps) watch(app);
  return {
    unexpectedExits: exits,
    take: (app) => void taken.add(app),
    async giveBack(app) {
      taken.delete(app);
      await bringBack(app);
    },
    stop: () => stopped.abort(),
  };
}
