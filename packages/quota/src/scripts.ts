import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';

/** Texts that commands begin with: what they share. */
export const PARTS = ['scope-state', 'definitions', 'take', 'hold-end', 'learned'] as const;
export type ScriptPart = (typeof PARTS)[number];

/** Commands of the `lua` folder with the number of keys each takes, and the parts it begins with. */
export const SCRIPTS = {
  reserve: { keys: 5, parts: ['scope-state', 'definitions', 'take', 'learned'] },
  settle: { keys: 5, parts: ['scope-state', 'hold-end', 'learned'] },
  release: { keys: 4, parts: ['scope-state', 'hold-end'] },
  progress: { keys: 1, parts: ['scope-state'] },
  status: { keys: 1, parts: ['scope-state'] },
  free: { keys: 3, parts: ['scope-state'] },
  begin: { keys: 4, parts: ['scope-state', 'definitions'] },
  keep: { keys: 1, parts: ['scope-state'] },
  stage: { keys: 3, parts: ['scope-state'] },
  commit: { keys: 5, parts: ['scope-state', 'hold-end'] },
} as const satisfies Readonly<Record<string, { keys: number; parts: readonly ScriptPart[] }>>;
export type ScriptName = keyof typeof SCRIPTS;
const NAMES = Object.keys(SCRIPTS) as readonly ScriptName[];

/** The file of a command, without its parts. */
export function commandText(name: ScriptName): string {
  return readScript(`${name}-${SCRIPTS[name].keys}`);
}

/** The text that Redis runs. */
export function scriptText(name: ScriptName): string {
  return [...SCRIPTS[name].parts.map(readScript), commandText(name)].join('\n');
}

/**
 * A command's reply: an outcome, the time at which Redis ran it (Unix ms), and what the header of its file lists. Text
 * comes as bytes, for scopes are packed.
 */
export type ScriptReply = readonly [outcome: Buffer | number, nowMs: number, ...rest: (Buffer | number | null)[]];

/** A command as ioredis defines it: keys first, then arguments. */
export type ScriptCommand = (...keysAndArguments: (string | number | Buffer)[]) => Promise<ScriptReply>;
export type ScriptCommands = Readonly<Record<`quota_${ScriptName}Buffer`, ScriptCommand>>;

const defined = new WeakSet<Redis>();
const texts = new Map<ScriptName, string>();

/** Defines the commands on a connection; they are sent as EVALSHA and loaded when Redis does not know them. */
export function defineScripts(redis: Redis): Redis & ScriptCommands {
  if (!defined.has(redis)) {
    for (const name of NAMES) {
      const lua = texts.get(name) ?? scriptText(name);
      texts.set(name, lua);
      redis.defineCommand(`quota_${name}`, { numberOfKeys: SCRIPTS[name].keys, lua });
    }
    defined.add(redis);
  }
  return redis as Redis & ScriptCommands;
}

function readScript(name: string): string {
  return readFileSync(new URL(`../lua/${name}.lua`, import.meta.url), 'utf8');
}
