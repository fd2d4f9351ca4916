import { chmod, rename, rm, writeFile } from 'node:fs/promises';
import { rmSync } from 'node:fs';

/** What `.local/run.json` tells scripts and tests that want to attach to a running suite. It holds secrets. */
export interface RunFile {
  readonly pid: number;
  readonly startedAt: string;
  readonly url: string;
  readonly urls: readonly string[];
  readonly demo: { readonly tenantId: string; readonly key: string };
  readonly adminKey: string;
  /** `SLUICE_POSTGRES_URL` and so on. */
  readonly servers: Readonly<Record<string, string>>;
  /** Of every process this start made, by name. */
  readonly pids: Readonly<Record<string, number>>;
}

/** Writes it whole or not at all, readable by its owner only. */
export async function writeRunFile(path: string, content: RunFile): Promise<void> {
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  await chmod(draft, 0o600);
  await rename(draft, path);
}

export async function removeRunFile(path: string): Promise<void> {
  await rm(path, { force: true });
}

/** For the last moment of a process, when nothing can be awaited. */
export function removeRunFileNow(path: string): void {
  rmSync(path, { force: true });
}
