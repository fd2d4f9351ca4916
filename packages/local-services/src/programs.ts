import { accessSync, constants, readdirSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/** Programs found on this machine, as absolute paths; undefined where a needed one is missing. */
export interface Programs {
  readonly redis: { readonly server: string } | undefined;
  readonly postgres: { readonly server: string; readonly initdb: string } | undefined;
  readonly rabbitmq: { readonly server: string; readonly epmd: string; readonly erlangDirectory: string } | undefined;
  readonly docker: string | undefined;
  /** Of Prometheus: checks and tests rules. */
  readonly promtool: string | undefined;
}

const HOMEBREW = ['/opt/homebrew', '/usr/local', '/home/linuxbrew/.linuxbrew'];
const SYSTEM = ['/usr/local/bin', '/usr/local/sbin', '/usr/bin', '/usr/sbin', '/bin', '/sbin'];

/** Looks in `searchPath` (as in the variable PATH), then where Debian, Red Hat and Homebrew put these programs. */
export function findPrograms(searchPath: string): Programs {
  const path = [...searchPath.split(delimiter).filter(Boolean), ...SYSTEM, ...HOMEBREW.map((root) => `${root}/bin`)];
  return {
    redis: findRedis(path),
    postgres: findPostgres(path),
    rabbitmq: findRabbitMq(path),
    docker: findIn(path, 'docker'),
    promtool: findIn(path, 'promtool'),
  };
}

function findRedis(path: readonly string[]): Programs['redis'] {
  const server = findIn(path, 'redis-server') ?? findIn(path, 'valkey-server');
  return server ? { server } : undefined;
}

/** The first folder that has both programs: Debian keeps them out of PATH, in one folder per major version. */
function findPostgres(path: readonly string[]): Programs['postgres'] {
  const versioned = [
    ...subfolders('/usr/lib/postgresql', 'bin'),
    ...subfolders('/usr', 'bin', /^pgsql-/),
    ...HOMEBREW.flatMap((root) => subfolders(`${root}/opt`, 'bin', /^postgresql(@|$)/)),
    '/usr/local/pgsql/bin',
  ];
  for (const folder of [...path, ...versioned]) {
    const server = findIn([folder], 'postgres');
    // Through links: beside the real program stand the others of the same version.
    const initdb = server && (findIn([folder], 'initdb') ?? findIn([dirname(realpathSync(server))], 'initdb'));
    if (server && initdb) return { server, initdb };
  }
  return undefined;
}

/** n.b. in PATH stands Debian's wrapper, which changes the user; the script that it calls comes first here. */
function findRabbitMq(path: readonly string[]): Programs['rabbitmq'] {
  const brewed = HOMEBREW.flatMap((root) => [`${root}/opt/rabbitmq/sbin`, `${root}/sbin`]);
  const server = findIn(['/usr/lib/rabbitmq/bin', ...brewed, ...path], 'rabbitmq-server');
  const erl = findIn([...path, ...HOMEBREW.map((root) => `${root}/opt/erlang/bin`), '/usr/lib/erlang/bin'], 'erl');
  const runtimes = ['/usr/lib/erlang', '/usr/lib64/erlang', '/usr/local/lib/erlang'];
  const brewedRuntimes = HOMEBREW.map((root) => `${root}/opt/erlang/lib/erlang`);
  const emulators = [...runtimes, ...brewedRuntimes].flatMap((root) => subfolders(root, 'bin', /^erts-/));
  const epmd = findIn([...path, ...runtimes.map((root) => `${root}/bin`), ...emulators], 'epmd');
  return server && erl && epmd ? { server, epmd, erlangDirectory: dirname(erl) } : undefined;
}

function findIn(folders: readonly string[], program: string): string | undefined {
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

/** `<parent>/<name>/<leaf>` for each name that matches, the highest version first. */
function subfolders(parent: string, leaf: string, pattern = /^\d/): readonly string[] {
  const byVersion = new Intl.Collator('en', { numeric: true });
  return namesIn(parent)
    .filter((name) => pattern.test(name))
    .sort((a, b) => byVersion.compare(b, a))
    .map((name) => join(parent, name, leaf));
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
