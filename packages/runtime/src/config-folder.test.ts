import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { ConfigError } from './config-error.js';
import { openConfigFolder } from './config-folder.js';
import { allConfigured } from './config-parts.js';
import { parseEnvironment } from './environment.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-config-'));
});
afterEach(() => rm(directory, { recursive: true }));

const write = (name: string, ...lines: readonly string[]): Promise<void> =>
  writeFile(join(directory, `${name}.yaml`), lines.join('\n'));

/** What is said of an environment without its variable and of the three files, without the folder's name. */
async function problems(): Promise<readonly string[]> {
  const files = openConfigFolder(directory, {});
  try {
    await allConfigured([
      () => parseEnvironment(z.object({ PORT: z.string() }), {}),
      files.models(),
      files.plans(),
      files.prices(),
    ]);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map((problem) => problem.replace(`${directory}/`, ''));
    throw error;
  }
  return [];
}

describe('the files of a configuration', () => {
  it('are checked together with the environment, and against models that have mistakes of their own', async () => {
    await write('models', 'pools: { text: {} }', 'models:', "  m: { pool: gone, version: '1' }");
    await write(
      'plans',
      'plans:',
      '  p:',
      '    limits: { tokensPerDay: 0 }',
      '    perModel:',
      '      m: {}',
      '      x: {}',
    );
    await write('prices', 'prices:', "  - { model: y, meter: input, usdPerMillion: '1', from: 2026 }");
    expect(await problems()).toEqual([
      'PORT: is missing',
      'models.yaml:3: models.m.pool: no pool "gone" exists',
      'plans.yaml:3: plans.p.limits.tokensPerDay: must be at least 1',
      'plans.yaml:6: plans.p.perModel.x: no model "x" exists',
      'prices.yaml:2: prices.0.from: must be a string',
      'prices.yaml:2: prices.0.model: no model "y" exists',
    ]);
  });

  it('are checked by themselves where the models cannot be told', async () => {
    await write('models', 'models: [');
    await write('plans', 'plans: { p: { limits: { tokensPerDay: 0 }, perModel: { x: {} } } }');
    const found = await problems();
    expect(found).toHaveLength(4);
    expect(found[1]).toMatch(/^models\.yaml:1: /);
    expect(found[2]).toBe('plans.yaml:1: plans.p.limits.tokensPerDay: must be at least 1');
    expect(found[3]).toBe('prices.yaml: cannot be read: there is no such file');
  });

  it('may hold nothing that is called __proto__; the line is named', async () => {
    await write('models', 'pools: { text: {} }', 'models:', "  __proto__: { pool: text, version: '1' }");
    await write(
      'plans',
      'plans:',
      '  __proto__:',
      '    limits: {}',
      '  p:',
      '    limits: {}',
      '    perModel:',
      '      __proto__: {}',
    );
    await write('prices', 'prices: []');
    expect((await problems()).slice(1)).toEqual([
      'models.yaml:3: models.__proto__: is a reserved name',
      'plans.yaml:2: plans.__proto__: is a reserved name',
      'plans.yaml:7: plans.p.perModel.__proto__: is a reserved name',
    ]);
  });
});

describe('allConfigured', () => {
  it('tells an error once that several parts fail with', async () => {
    const failed = Promise.reject(new ConfigError('x', ['wrong']));
    await expect(allConfigured([failed, failed.then(() => 1)])).rejects.toMatchObject({ problems: ['wrong'] });
  });

  it('returns the parts in their order, and fails with what is no problem of configuration', async () => {
    expect(await allConfigured([Promise.resolve(1), () => 'a'])).toEqual([1, 'a']);
    const defect = Promise.reject(new TypeError('a defect'));
    await expect(allConfigured([Promise.reject(new ConfigError('x', ['wrong'])), defect])).rejects.toThrow('a defect');
  });
});
