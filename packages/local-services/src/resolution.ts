import { SERVER_NAMES, type ServerName } from './server.js';

/** What is known of this machine when it is decided where each server comes from. */
export interface Facts {
  /** URLs from the environment. */
  readonly given: Readonly<Partial<Record<ServerName, string>>>;
  /** Whether the server's programs were found on this machine. */
  readonly installed: Readonly<Record<ServerName, boolean>>;
  /** Whether we may and can install packages: root on Debian or a relative of it. */
  readonly canInstall: boolean;
  /** Whether a Docker engine answers. */
  readonly docker: boolean;
}

export type Choice =
  | { readonly source: 'environment'; readonly url: string }
  | { readonly source: 'binaries' }
  | { readonly source: 'installation' }
  | { readonly source: 'docker' }
  | { readonly source: 'none' };

/** Where each server comes from: a given URL, else programs that are here, else packages, else containers. */
export function chooseSources(facts: Facts): Readonly<Record<ServerName, Choice>> {
  return Object.fromEntries(SERVER_NAMES.map((name) => [name, choose(name, facts)])) as Record<ServerName, Choice>;
}

function choose(name: ServerName, { given, installed, canInstall, docker }: Facts): Choice {
  const url = given[name];
  if (url !== undefined) return { source: 'environment', url };
  if (installed[name]) return { source: 'binaries' };
  if (canInstall) return { source: 'installation' };
  return { source: docker ? 'docker' : 'none' };
}

export interface System {
  /** Of this process. */
  readonly uid: number;
  /** The text of /etc/os-release, empty where there is none. */
  readonly osRelease: string;
  readonly aptGet: boolean;
}

/** Whether missing servers may be installed with apt-get. */
export function canInstall({ uid, osRelease, aptGet }: System): boolean {
  const ids = [...osRelease.matchAll(/^(?:ID|ID_LIKE)=(.*)$/gm)].flatMap(([, ids]) =>
    (ids ?? '').replaceAll(/["']/g, '').split(/\s+/),
  );
  return uid === 0 && aptGet && ids.some((id) => id === 'debian' || id === 'ubuntu');
}
