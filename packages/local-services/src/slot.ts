import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identify, isAlive, type ProcessIdentity } from './process-table.js';

/**
 * A numbered folder that belongs to one process at a time, so that several starts can share a directory.
 *
 * The lock is a series of files `lock-<n>`, each naming an owner. The highest number counts, and nobody ever
 * overwrites or removes it: whoever finds its owner gone creates `lock-<n+1>`, which only one can. So there is no
 * moment at which two processes hold a slot, and none at which a crash leaves it locked.
 */
export interface Slot {
  readonly number: number;
  readonly directory: string;
  /** Makes the slot free for the next start. Safe twice. */
  release(): void;
}

interface Lock {
  readonly generation: number;
  readonly owner: ProcessIdentity | 'nobody';
}

const MOST_SLOTS = 100;

/**
 * Takes the lowest slot under `directory` that no living process holds. What its last owner left there is not touched.
 */
export function acquireSlot(directory: string): Slot {
  const self = identify(process.pid);
  if (!self) throw new Error('this process cannot find itself in the process table');
  for (let number = 1; number <= MOST_SLOTS; number++) {
    const slot = tryAcquire(join(directory, `slot-${number}`), self);
    if (slot) return { number, ...slot };
  }
  throw new Error(`all ${MOST_SLOTS} slots under ${directory} are in use`);
}

function tryAcquire(directory: string, self: ProcessIdentity): Omit<Slot, 'number'> | undefined {
  mkdirSync(directory, { recursive: true });
  const last = readLock(directory);
  if (last && last.owner !== 'nobody' && isAlive(last.owner)) return undefined;
  const generation = (last?.generation ?? 0) + 1;
  if (!createLock(directory, { generation, owner: self })) return undefined;
  // Someone else may have taken and left the slot since we looked, and our number is then an old one.
  if (readLock(directory)?.generation !== generation) {
    rmSync(lockPath(directory, generation), { force: true });
    return undefined;
  }
  removeOlder(directory, generation);
  let held = true;
  return {
    directory,
    release() {
      if (!held) return;
      held = false;
      createLock(directory, { generation: generation + 1, owner: 'nobody' });
      removeOlder(directory, generation + 1);
    },
  };
}

function readLock(directory: string): Lock | undefined {
  const generation = Math.max(0, ...generations(directory));
  if (generation === 0) return undefined;
  try {
    const owner = JSON.parse(readFileSync(lockPath(directory, generation), 'utf8')) as Lock['owner'];
    return { generation, owner };
  } catch {
    // Removed because a newer one exists by now: look again.
    return generations(directory).includes(generation) ? { generation, owner: 'nobody' } : readLock(directory);
  }
}

/** False when that number is taken. The file appears with its content: it is written elsewhere and linked. */
function createLock(directory: string, { generation, owner }: Lock): boolean {
  const draft = join(directory, `draft-${process.pid}-${generation}`);
  writeFileSync(draft, JSON.stringify(owner));
  try {
    linkSync(draft, lockPath(directory, generation));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function removeOlder(directory: string, generation: number): void {
  for (const older of generations(directory).filter((number) => number < generation)) {
    rmSync(lockPath(directory, older), { force: true });
  }
}

function generations(directory: string): readonly number[] {
  return readdirSync(directory)
    .map((name) => Number(/^lock-(\d+)$/.exec(name)?.[1]))
    .filter(Number.isSafeInteger);
}

function lockPath(directory: string, generation: number): string {
  return join(directory, `lock-${generation}`);
}
