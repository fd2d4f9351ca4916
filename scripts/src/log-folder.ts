import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning } from './process-id.js';

const KEPT = 5;
const FOLDER = /^\d{4}-\d\d-\d\dT[\d-]+Z-(\d+)$/;

/**
 * Makes the folder for the logs of this start, `<directory>/<time>-<pid>`, and removes all but the newest five, itself
 * included; those of starts that still run stay. Logs may say what tenants do, so only the owner can enter `directory`.
 */
export async function openLogFolder(directory: string, now: Date = new Date()): Promise<string> {
  const folder = join(directory, `${now.toISOString().replaceAll(/[:.]/g, '-')}-${process.pid}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  await removeOld(directory);
  return folder;
}

async function removeOld(directory: string): Promise<void> {
  const folders = (await readdir(directory)).filter((name) => FOLDER.test(name)).sort();
  const ended = folders.slice(0, -KEPT).filter((name) => !isRunning(Number(FOLDER.exec(name)?.[1])));
  await Promise.all(ended.map((name) => rm(join(directory, name), { recursive: true, force: true })));
}
