import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Path of the compiled program. */
export const BUILD_MAIN = fileURLToPath(new URL('../dist/build-main.js', import.meta.url));

/** Runs the build as a program; resolves with its lines, rejects with what it wrote to stderr. */
export async function build(directory: string): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [BUILD_MAIN, directory]);
  return stdout.trim().split('\n');
}

/** A built repository that test runs share; building it again costs nothing. Not to be changed by tests. */
export const SHARED_REPOSITORY = fileURLToPath(new URL('../.local/models', import.meta.url));
