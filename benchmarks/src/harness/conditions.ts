import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';

/** What a figure depends on besides the code. */
export interface Conditions {
  readonly command: string;
  readonly at: string;
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGib: number;
  readonly system: string;
  readonly node: string;
  /** Servers and client libraries, by name. */
  readonly versions: Readonly<Record<string, string>>;
}

const LIBRARIES = ['express', 'amqplib', 'ioredis', 'pg', 'autocannon', 'undici'] as const;

/** @param servers versions of the servers, by name. */
export function describeConditions(command: string, servers: Readonly<Record<string, string>>): Conditions {
  const cores = cpus();
  return {
    command,
    at: new Date().toISOString(),
    cores: cores.length,
    cpu: cores[0]?.model.trim() ?? 'unknown',
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    node: process.version,
    versions: { ...servers, ...Object.fromEntries(LIBRARIES.map((name) => [name, versionOf(name)])) },
  };
}

const { resolve } = createRequire(import.meta.url);

/** n.b. a package may hide its package.json behind `exports`, so it is looked for above the package's entry. */
function versionOf(library: string): string {
  for (let folder = dirname(resolve(library)); folder !== dirname(folder); folder = dirname(folder)) {
    const path = join(folder, 'package.json');
    if (!existsSync(path)) continue;
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as { name?: string; version?: string };
    if (manifest.name === library) return manifest.version ?? 'unknown';
  }
  return 'unknown';
}
