import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { commandText, PARTS, SCRIPTS, scriptText, type ScriptName } from './scripts.js';

const names = Object.keys(SCRIPTS) as ScriptName[];

describe('the scripts', () => {
  it('are the files of the lua folder, which the package carries', () => {
    const files = readdirSync(new URL('../lua/', import.meta.url)).sort();
    const commands = names.map((name) => `${name}-${SCRIPTS[name].keys}.lua`);
    expect(files).toEqual([...commands, ...PARTS.map((part) => `${part}.lua`)].sort());
    const { files: shipped } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      files: string[];
    };
    expect(shipped).toEqual(expect.arrayContaining(['dist', 'lua']));
  });

  it.each(names)('%s lists its keys, arguments and reply, and reads exactly the keys it is given', (name) => {
    const text = commandText(name);
    const header = text.slice(0, text.indexOf(']]'));
    expect(header).toMatch(new RegExp(`^--\\[\\[\\n  ${name}: `));
    expect(header).toMatch(/\n {2}ARGV 1 /);
    expect(header).toMatch(/\n {2}Returns /);
    const listed = header.slice(header.indexOf('KEYS'), header.indexOf('ARGV')).match(/^(KEYS|\s+) \d /gm);
    expect(listed).toHaveLength(SCRIPTS[name].keys);
    const used = new Set([...text.matchAll(/KEYS\[(\d)\]/g)].map(([, index]) => Number(index)));
    expect([...used].sort()).toEqual(Array.from({ length: SCRIPTS[name].keys }, (_, i) => i + 1));
  });

  it.each(PARTS)('%s says what it is and touches no keys but those it is handed', (part) => {
    const user = names.find((name) => (SCRIPTS[name].parts as readonly string[]).includes(part));
    const text = user ? scriptText(user) : '';
    expect(text).toContain(`${part}: `);
    expect(text.slice(0, text.indexOf(commandText(user ?? 'status')))).not.toMatch(/KEYS\[|ARGV\[/);
  });
});
