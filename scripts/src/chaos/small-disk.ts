import { execFile, spawnSync } from 'node:child_process';
import { mkdir, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { LocalServer } from '@sluice/local-services';

const execute = promisify(execFile);

/** A file system of a server's own that can be filled without harm to anybody else. */
export interface SmallDisk {
  /** Takes all that is free; the server's next write that needs room fails (ENOSPC). */
  fill(): Promise<void>;
  empty(): Promise<void>;
  /** Takes it away, when the server has ended. Its data stay in the server's folder when `keepData`. */
  close(options: { readonly keepData: boolean }): Promise<void>;
}

const SIZE = '768m';
const FILLER = 'filler';
/** Left to be filled bit by bit: what the server writes meanwhile would make the one big step fail. */
const REST_BYTES = 16 * 2 ** 20;

/**
 * Moves the data of a running server to a file system in memory, which its folder then leads to; the server is restarted for
 * that. Undefined where that cannot be done: it takes Linux, root, and a server that was started from binaries.
 */
export async function createSmallDisk(server: LocalServer): Promise<SmallDisk | undefined> {
  const folder = server.dataDirectory;
  if (folder === undefined || process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  const aside = `${folder}.aside`;
  await server.kill();
  await rename(folder, aside);
  await mkdir(folder);
  const mounted = await mount(folder);
  if (mounted) {
    await copy(aside, folder);
    await rm(aside, { recursive: true });
  } else {
    await rmdir(folder);
    await rename(aside, folder);
  }
  await server.restart();
  return mounted ? smallDiskAt(folder) : undefined;
}

function smallDiskAt(folder: string): SmallDisk {
  const filler = join(folder, FILLER);
  // n.b. what is mounted outlives the process; `lazy`, because the server may not have ended yet.
  const unmountNow = (): void => void spawnSync('umount', ['--lazy', folder]);
  process.on('exit', unmountNow);
  return {
    async fill() {
      const { bavail, bsize } = await statfs(folder);
      const bytes = Math.max(1, bavail * bsize - REST_BYTES);
      await execute('fallocate', ['--length', String(bytes), filler]).catch(() => undefined);
      const rest = ['if=/dev/zero', `of=${filler}`, 'bs=64K', 'oflag=append', 'conv=notrunc', 'status=none'];
      await execute('dd', rest).catch(() => undefined); // it ends with "no space left", which is the point
    },
    empty: () => rm(filler, { force: true }),
    async close({ keepData }) {
      const kept = `${folder}.kept`;
      if (keepData) {
        await mkdir(kept);
        await copy(folder, kept);
      }
      await execute('umount', [folder]);
      process.off('exit', unmountNow);
      await rmdir(folder);
      if (keepData) await rename(kept, folder);
    },
  };
}

/** False where mounting is not allowed, as in most containers. */
function mount(folder: string): Promise<boolean> {
  return execute('mount', ['-t', 'tmpfs', '-o', `size=${SIZE},mode=0755`, 'tmpfs', folder]).then(
    () => true,
    () => false,
  );
}

/** With owners, times and links. */
async function copy(from: string, to: string): Promise<void> {
  await execute('cp', ['--archive', `${from}/.`, to]);
}
