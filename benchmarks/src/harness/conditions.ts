import { cpus, totalmem } from 'node:os';
import { createRequire } from 'node:module';

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

const manifests = createRequire(import.meta.url);

/** n.b. a package may hide its package.json behind `exports`. */
function versionOf(library: string): string {
  try {
    return (manifests(`${library}/package.json`) as { version: string }).version;
  } catch {
    return 'unknown';
  }
}
