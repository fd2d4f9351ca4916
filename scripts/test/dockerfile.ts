import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../src/paths.js';

export interface Stage {
  readonly name: string;
  /** What it stands on: another stage, or an image. */
  readonly base: string;
  /** Instruction and argument, in order; continued lines are joined. */
  readonly instructions: readonly (readonly [instruction: string, argument: string])[];
}

/** The stages of the Dockerfile, by name. Knows what ours uses of the format: comments, continued lines, named stages. */
export function readStages(): ReadonlyMap<string, Stage> {
  const text = readFileSync(join(ROOT, 'Dockerfile'), 'utf8').replace(/^\s*#.*\n/gm, '');
  const lines = text.replace(/\\\n\s*/g, '').split('\n');
  const stages = new Map<string, { name: string; base: string; instructions: [string, string][] }>();
  let current: { instructions: [string, string][] } | undefined;
  for (const line of lines) {
    const [, instruction = '', argument = ''] = /^(\w+)\s+(.+)$/.exec(line.trim()) ?? [];
    const [, base = '', name = ''] = /^(?:--platform=\S+ )?(\S+) AS (\S+)$/.exec(argument) ?? [];
    if (instruction === 'FROM') stages.set(name, (current = { name, base, instructions: [] } as never));
    else if (instruction !== '') current?.instructions.push([instruction, argument]);
  }
  return stages;
}

export interface Program {
  /** What the container runs: `node` and its arguments. */
  readonly command: readonly string[];
  /** What `ENV` of the stage and of those below it sets. */
  readonly environment: Readonly<Record<string, string>>;
  readonly user: string | undefined;
  /** The image of `IMAGES` whose files it copies to /app. */
  readonly files: string | undefined;
}

/** What comes of a target, with all that it takes over from the stages below it. */
export function programOf(stages: ReadonlyMap<string, Stage>, target: string): Program {
  const chain: Stage[] = [];
  for (let stage = stages.get(target); stage !== undefined; stage = stages.get(stage.base)) chain.unshift(stage);
  const all = chain.flatMap(({ instructions }) => instructions);
  const last = (name: string): string | undefined => all.findLast(([instruction]) => instruction === name)?.[1];
  const copied = all.map(([, argument]) => /^--from=(\S+) \/out \/app$/.exec(argument)?.[1]).find(Boolean);
  const assembly = stages.get(copied ?? '')?.instructions.find(([, argument]) => argument.includes('images/main.js'));
  const variables = all
    .filter(([instruction]) => instruction === 'ENV')
    .flatMap(([, argument]) => argument.split(' ').map((pair) => pair.split('=') as [string, string]));
  return {
    command: JSON.parse(last('CMD') ?? '[]') as string[],
    environment: Object.fromEntries(variables),
    user: last('USER'),
    files: /images\/main\.js (\S+) \/out/.exec(assembly?.[1] ?? '')?.[1],
  };
}
