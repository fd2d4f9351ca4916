import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { writeConfiguration } from './configuration.js';

const MIGRATE = fileURLToPath(new URL('../dist/migrate.js', import.meta.url));

it('a migration tells what is wrong with the environment and the files at once, before it connects', async () => {
  const directory = await writeConfiguration({
    plans: { p: { limits: { moneyPerMonth: 5 }, perModel: { gone: {} } } },
    prices: [{ model: 'gone', meter: 'input', usdPerMillion: '1', from: '2026-01-01T00:00:00Z' }],
  });
  const environment = { PATH: process.env['PATH'], SLUICE_CONFIG_DIR: directory, SLUICE_POSTGRES_URL: 'http://db' };
  const child = spawn(process.execPath, [MIGRATE], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit') as Promise<[number | null]>]);
  expect(code).toBe(78);
  expect(said.replaceAll(`${directory}/`, '').trimEnd().split('\n')).toEqual([
    'The configuration has problems:',
    '  SLUICE_POSTGRES_URL: must be a URL of the right kind',
    '  plans.yaml:1: plans.p.limits.moneyPerMonth: must be a decimal string such as "5.00", or { usd, alertAtPercent?, soft? }',
    '  plans.yaml:1: plans.p.perModel.gone: no model "gone" exists',
    '  prices.yaml:1: prices.0.model: no model "gone" exists',
  ]);
  await rm(directory, { recursive: true });
});
