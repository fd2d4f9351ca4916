import { chmod, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning } from './process-id.js';

/** What `.local/run.json` tells scripts and tests that want to attach to a running suite. It holds secrets. */
export interface RunFileContent {
  readonly pid: number;
  readonly startedAt: string;
  readonly url: string;
  readonly urls: readonly string[];
  /** Where each app serves probes and metrics, by its name. */
  readonly ops: Readonly<Record<string, string>>;
  readonly demo: { readonly tenantId: string; readonly key: string };
  readonly adminKey: string;
  /** `SLUICE_POSTGRES_URL` and so on. */
  readonly servers: Readonly<Record<string, string>>;
  /** Of every process this start made, by name. */
  readonly pids: Readonly<Record<string, number>>;
}

export interface RunFile {
  readonly path: string;
  /** Writes what is true now, whole or not at all, readable by its owner only. Does nothing once removed. */
  write(): Promise<void>;
  /** Resolves when it is gone for good, a write under way included. */
  remove(): Promise<void>;
  /** For the last moment of a process, when nothing can be awaited. */
  removeNow(): void;
}

/** The run file of this start: `run.json` in `directory`, or `run-<pid>.json` while another start that runs has that. */
export function createRunFile(directory: string, content: () => RunFileContent): RunFile {
  const usual = join(directory, 'run.json');
  const path = isTaken(usual) ? join(directory, `run-${process.pid}.json`) : usual;
  const draft = `${path}.${process.pid}`;
  let removed = false;
  let last: Promise<void> = Promise.resolve();

  async function writeNow(): Promise<void> {
    if (removed) return;
    await writeFile(draft, `${JSON.stringify(content(), null, 2)}\n`, { mode: 0o600 });
    await chmod(draft, 0o600);
    await rename(draft, path);
  }

  return {
    path,
    write() {
      const written = last.then(writeNow);
      last = written.catch(() => undefined);
      return written;
    },
    async remove() {
      removed = true;
      await last;
      await rm(draft, { force: true });
      await rm(path, { force: true });
    },
    removeNow() {
      removed = true;
      rmSync(draft, { force: true });
      rmSync(path, { force: true });
    },
  };
}

/** Whether another start, still alive, owns this file. */
function isTaken(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    const { pid } = JSON.parse(readFileSync(path, 'utf8')) as { pid: number };
    return pid !== process.pid && isRunning(pid);
  } catch {
    return false;
  }
}
