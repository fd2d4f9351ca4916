import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';

/** Servers that end with the check. */
export interface Processes {
  /** Starts a program whose output goes to `<name>.log`. */
  start(name: string, program: string, args: readonly string[], environment?: NodeJS.ProcessEnv): void;
  /** @throws Error naming a server that ended by itself. */
  requireAlive(): void;
  /** Ends them, the last first. */
  stop(): Promise<void>;
}

export function createProcesses(folder: string): Processes {
  const children: { readonly name: string; readonly child: ChildProcess }[] = [];
  // However the check ends, they are not left behind.
  process.once('exit', () => children.forEach(({ child }) => child.kill('SIGKILL')));
  return {
    start(name, program, args, environment = {}) {
      const log = openSync(join(folder, `${name}.log`), 'w');
      const env = { ...process.env, ...environment };
      const child = spawn(program, args, { cwd: folder, stdio: ['ignore', log, log], env, detached: true });
      child.on('error', () => undefined); // has no exit code then, which requireAlive sees
      closeSync(log);
      children.push({ name, child });
    },
    requireAlive() {
      const ended = children.find(({ child }) => child.pid === undefined || hasEnded(child));
      if (ended) throw new Error(`${ended.name} ended; see ${join(folder, `${ended.name}.log`)}`);
    },
    async stop() {
      for (const { child } of children.toReversed()) {
        if (child.pid === undefined || hasEnded(child)) continue;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    },
  };
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
