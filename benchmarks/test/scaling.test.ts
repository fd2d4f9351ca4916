import { expect, it } from '@jest/globals';
import { formatResult } from '../src/harness/report.js';
import { POLICY_NAMES } from '../src/scaling/policies.js';
import { runScaling } from '../src/scaling/scaling.js';

const options = { quick: true, command: 'npm run bench -- scaling --quick', report: () => undefined };

it('prints a line for every way to scale, and what numbers of jobs need', async () => {
  const result = await runScaling({ ...options, signal: new AbortController().signal });
  const [rare] = result.tables ?? [];
  expect(rare?.rows.map(([name]) => name)).toEqual([...POLICY_NAMES]);
  expect(formatResult(result)).toContain('what so many jobs a second need');
}, 120_000);

it('refuses a curve that is none', async () => {
  const curve = new URL('../package.json', import.meta.url).pathname;
  const run = runScaling({ ...options, curve, signal: new AbortController().signal });
  await expect(run).rejects.toThrow('no calibration file');
});

it('ends when it is told to', async () => {
  await expect(runScaling({ ...options, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
});
