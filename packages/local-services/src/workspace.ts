import { mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { removeLeftContainers } from './containers.js';
import { endLeftovers } from './leftovers.js';
import { type DataDirectories, dataDirectories, removeData } from './private-servers.js';
import { acquireSlot } from './slot.js';

/** A slot made ready for new servers. */
export interface Workspace {
  readonly slotDirectory: string;
  readonly data: DataDirectories;
  /** To be called when the servers have ended. */
  close(): void;
}

export interface WorkspaceOptions {
  readonly directory: string;
  readonly keepData: boolean;
  /** The program, when servers may run in containers. */
  readonly docker: string | undefined;
}

/** Takes a slot, ends what a killed owner left running in it, and removes old data unless they are kept. */
export async function openWorkspace({ directory, keepData, docker }: WorkspaceOptions): Promise<Workspace> {
  mkdirSync(directory, { recursive: true });
  const slot = acquireSlot(realpathSync(directory));
  const slotDirectory = slot.directory;
  try {
    const data = dataDirectories(slotDirectory);
    await endLeftovers(slotDirectory, Object.values(data));
    if (docker !== undefined) await removeLeftContainers({ docker, slotDirectory });
    if (!keepData) {
      removeData(data, slotDirectory);
      removeLogs(slotDirectory);
    }
    return {
      slotDirectory,
      data: dataDirectories(slotDirectory),
      close() {
        if (!keepData) removeData(data, slotDirectory);
        slot.release();
      },
    };
  } catch (error) {
    slot.release();
    throw error;
  }
}

/** Logs of the last start stay until the next, for whoever wonders what went wrong. */
function removeLogs(slotDirectory: string): void {
  for (const name of readdirSync(slotDirectory).filter((file) => file.endsWith('.log'))) {
    rmSync(join(slotDirectory, name));
  }
}
