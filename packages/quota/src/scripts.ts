import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';

/** Commands of the `lua` folder with the number of keys each takes. */
export const SCRIPTS = { reserve: 5, confirm: 1, settle: 4, release: 5, load: 3, status: 1 } as const;
export type ScriptName = keyof typeof SCRIPTS;

/** What every command begins with, see `lua/limit-state.lua`. */
export const limitState = readScript('limit-state');

/** The text that Redis runs. */
export function scriptText(name: ScriptName): string {
  return limitState + readScript(`${name}-${SCRIPTS[name]}`);
}

/** A command's reply: an outcome, the time at which Redis ran it (Unix ms), and what the header of its file lists. */
export type ScriptReply = readonly [outcome: string | number, nowMs: number, ...rest: (string | number)[]];

/** A command as ioredis defines it: keys first, then arguments. */
export type ScriptCommand = (...keysAndArguments: (string | number)[]) => Promise<ScriptReply>;
export type ScriptCommands = Readonly<Record<`quota_${ScriptName}`, ScriptCommand>>;

/** Defines the commands on a connection; they are sent as EVALSHA and loaded when Redis does not know them. */
export function defineScripts(redis: Redis): Redis & ScriptCommands {
  for (const name of Object.keys(SCRIPTS) as ScriptName[]) {
    redis.defineCommand(`quota_${name}`, { numberOfKeys: SCRIPTS[name], lua: scriptText(name) });
  }
  return redis as Redis & ScriptCommands;
}

function readScript(name: string): string {
  return readFileSync(new URL(`../lua/${name}.lua`, import.meta.url), 'utf8');
}
