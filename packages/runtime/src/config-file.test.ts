import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { ConfigError } from './config-error.js';
import { parseConfig } from './config-file.js';

const schema = z.strictObject({
  plans: z.record(z.string(), z.strictObject({ tokens: z.int().min(1), name: z.string().optional() })),
});

function problemsOf(text: string, environment: NodeJS.ProcessEnv = {}): readonly string[] {
  try {
    parseConfig({ path: 'plans.yaml', text, schema, environment });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('parseConfig', () => {
  it('returns a frozen value', () => {
    const value = parseConfig({ path: 'p', text: 'plans: { a: { tokens: 5 } }', schema, environment: {} });
    expect(value).toEqual({ plans: { a: { tokens: 5 } } });
    expect(Object.isFrozen(value.plans['a'])).toBe(true);
  });

  it('reports every problem with file and line', () => {
    const text = [
      'plans:',
      '  a:',
      '    tokens: 0',
      '  b:',
      '    tokens: many',
      '  c:',
      '    tokens: 1',
      '    tokns: 2',
    ];
    const problems = problemsOf(text.join('\n'));
    expect(problems).toHaveLength(3);
    expect(problems[0]).toMatch(/^plans\.yaml:3: plans\.a\.tokens: /);
    expect(problems[1]).toMatch(/^plans\.yaml:5: plans\.b\.tokens: /);
    expect(problems[2]).toMatch(/^plans\.yaml:8: plans\.c: .*tokns/);
  });

  it('reports a missing key at the line of its parent', () => {
    expect(problemsOf('plans:\n  a:\n    name: x\n')[0]).toMatch(/^plans\.yaml:2: plans\.a\.tokens: /);
  });

  it('replaces references by environment variables and names those that are not set', () => {
    const text = 'plans:\n  a: { tokens: ${TOKENS} }\n  b: { tokens: ${OTHER:-7} }';
    const value = parseConfig({ path: 'p', text, schema, environment: { TOKENS: '3' } });
    expect(value.plans).toEqual({ a: { tokens: 3 }, b: { tokens: 7 } });
    expect(problemsOf(text)).toEqual(['plans.yaml:2: ${TOKENS} is not set']);
  });

  it('reports an alias without an anchor, and aliases that stand for too much', () => {
    expect(problemsOf('plans: *none')).toEqual([expect.stringMatching(/^plans\.yaml: .*alias.*none/)]);
    const tenfold = (of: string) => `[${new Array(10).fill(of).join(', ')}]`;
    const bomb = `a: &a ${tenfold('1')}\nb: &b ${tenfold('*a')}\nc: &c ${tenfold('*b')}\nd: ${tenfold('*c')}`;
    expect(problemsOf(bomb)).toEqual([expect.stringMatching(/^plans\.yaml: .*alias/)]);
  });

  it('reports YAML that cannot be parsed, and duplicate keys, with their lines', () => {
    expect(problemsOf('plans:\n  a: [1')[0]).toMatch(/^plans\.yaml:\d+: /);
    expect(problemsOf('plans:\n  a: { tokens: 1 }\n  a: { tokens: 2 }')[0]).toMatch(/^plans\.yaml:3: .*unique/);
  });

  it('reports an empty file', () => {
    expect(problemsOf('')[0]).toMatch(/^plans\.yaml:1: \(file\): /);
  });
});
