import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Account } from './managed-process.js';

/**
 * Who PostgreSQL runs as, since it refuses to run as root: undefined (as we are) unless we are root, then the user
 * `postgres`, else `nobody`.
 *
 * @throws Error when we are root and neither user exists.
 */
export function postgresAccount(): Account | undefined {
  if (userInfo().uid !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const wanted of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find(([name]) => name === wanted) ?? [];
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('PostgreSQL does not run as root, and neither of the users postgres and nobody exists');
}

/**
 * `preferred` when that account may enter the folder, else a folder of the system's temporary directory that always
 * is the same for the same `preferred`. Creates the folder.
 */
export function directoryFor(account: Account | undefined, preferred: string): string {
  mkdirSync(preferred, { recursive: true });
  if (!account || mayEnter(account, preferred)) return preferred;
  const fallback = fallbackFor(preferred);
  mkdirSync(fallback, { recursive: true, mode: 0o755 });
  // In a folder that everyone may write to, someone else may have been there first, to have root follow a link.
  const { uid, mode } = lstatSync(fallback);
  if (uid !== 0 || (mode & 0o022) !== 0) throw new Error(`${fallback} exists and is not only ours to write`);
  return fallback;
}

/** The folder of the temporary directory that stands in for `preferred`. */
export function fallbackFor(preferred: string): string {
  const digest = createHash('sha256').update(preferred).digest('hex').slice(0, 16);
  return join(tmpdir(), `sluice-postgres-${digest}`);
}

/** Asks the kernel by trying: permissions of every folder above count, and lists of rights beyond the mode bits. */
function mayEnter(account: Account, directory: string): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', directory], { cwd: '/', ...account }).status === 0;
}
