import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { findPromtool, type Promtool } from '@sluice/local-services';
import { stringify } from 'yaml';
import { readManifests } from './committed-manifests.js';

// What KEDA asks Prometheus, evaluated by Prometheus' own tool: seconds that one worker would need for the backlog.

let promtool: Promtool;
let folder: string;
let query: string;

beforeAll(async () => {
  promtool = await findPromtool(process.env);
  folder = await mkdtemp(join(tmpdir(), 'sluice-query-'));
  const { objects } = await readManifests();
  const scaled = objects.production.find(({ kind }) => kind === 'ScaledObject');
  const { triggers } = scaled?.['spec'] as {
    readonly triggers: readonly { readonly type: string; readonly metadata: { readonly query?: string } }[];
  };
  query = triggers.find(({ type }) => type === 'prometheus')?.metadata.query ?? '';
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The query's only sample, or undefined when there is none, which KEDA takes for an error. */
async function expectSeconds(series: Readonly<Record<string, number>>, seconds: number | undefined): Promise<void> {
  const samples = seconds === undefined ? [] : [{ labels: '{}', value: seconds }];
  const test = {
    interval: '15s',
    input_series: Object.entries(series).map(([name, value]) => ({ series: name, values: `${value}x4` })),
    promql_expr_test: [{ expr: query, eval_time: '30s', exp_samples: samples }],
  };
  await writeFile(
    join(folder, 'query.test.yaml'),
    stringify({ rule_files: [], evaluation_interval: '15s', tests: [test] }),
  );
  expect(await promtool.run(['test', 'rules', 'query.test.yaml'], folder)).toMatchObject({ ok: true });
}

function backlog(model: string, jobClass: string, gateway: string, pool = 'text'): string {
  return `sluice_backlog_tokens{namespace="sluice",pool="${pool}",model="${model}",class="${jobClass}",pod="${gateway}"}`;
}

function capacity(model: string, worker: string): string {
  return `sluice_worker_capacity_tokens_per_second{namespace="sluice",pool="text",model="${model}",pod="${worker}"}`;
}

it('divides the tokens of each model by what a worker does of it', async () => {
  const series = {
    [backlog('a', 'batch', 'g1')]: 1_000,
    [backlog('a', 'standard', 'g1')]: 500,
    [backlog('b', 'standard', 'g1')]: 4_000,
    [capacity('a', 'w1')]: 100,
    [capacity('a', 'w2')]: 200,
    [capacity('b', 'w1')]: 1_000,
  };
  await expectSeconds(series, 1_500 / 150 + 4_000 / 1_000);
});

it('counts a backlog once that every gateway tells, and no other pool', async () => {
  const series = {
    [backlog('a', 'batch', 'g1')]: 1_000,
    [backlog('a', 'batch', 'g2')]: 1_000,
    [backlog('a', 'batch', 'g1', 'other')]: 9_000,
    [capacity('a', 'w1')]: 100,
  };
  await expectSeconds(series, 10);
});

it('assumes what a worker does while none tells, or tells 0', async () => {
  await expectSeconds({ [backlog('a', 'batch', 'g1')]: 10_000, [capacity('b', 'w1')]: 9 }, 2);
  await expectSeconds({ [backlog('a', 'batch', 'g1')]: 10_000, [capacity('a', 'w1')]: 0 }, 2);
});

it('says 0 for no backlog and nothing for one that is not known', async () => {
  await expectSeconds({ [backlog('a', 'batch', 'g1')]: 0 }, 0);
  await expectSeconds({ [capacity('a', 'w1')]: 100 }, undefined);
});
