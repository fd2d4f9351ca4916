import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { containerRun, findPromtool } from './promtool.js';

describe('findPromtool', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-promtool-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('runs promtool in a folder and says whether it was content', async () => {
    const rules = (expr: string): string => `groups: [{ name: a, rules: [{ record: 'a:b', expr: '${expr}' }] }]`;
    writeFileSync(join(folder, 'good.yaml'), rules('sum(up)'));
    writeFileSync(join(folder, 'bad.yaml'), rules('sum(up'));
    const promtool = await findPromtool(process.env);
    expect(await promtool.run(['check', 'rules', 'good.yaml'], folder)).toMatchObject({ ok: true });
    const { ok, output } = await promtool.run(['check', 'rules', 'bad.yaml'], folder);
    expect([ok, output]).toEqual([false, expect.stringContaining('unclosed left parenthesis')]);
  });
});

it('runs in a container on a folder that it cannot change', () => {
  const line = containerRun(['check', 'rules', 'a.yaml'], '/some/folder').join(' ');
  expect(line).toMatch(
    /--volume \/some\/folder:\/rules:ro .*--entrypoint promtool prom\/prometheus:\S+ check rules a\.yaml$/,
  );
});
