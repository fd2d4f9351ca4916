import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { findPromtool, type Promtool } from '@sluice/local-services';
import { stringify } from 'yaml';
import { readManifests } from './committed-manifests.js';

// What KEDA asks Prometheus, evaluated by Prometheus' own tool: milliseconds that one worker would need for the backlog.

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
async function expectMilliseconds(
  series: Readonly<Record<string, number>>,
  milliseconds: number | undefined,
): Promise<void> {
  const samples = milliseconds === undefined ? [] : [{ labels: '{}', value: milliseconds }];
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
  await expectMilliseconds(series, 14_000);
});

it('counts a backlog once that every gateway tells, and no other pool', async () => {
  const series = {
    [backlog('a', 'batch', 'g1')]: 1_000,
    [backlog('a', 'batch', 'g2')]: 1_000,
    [backlog('a', 'batch', 'g1', 'other')]: 9_000,
    [capacity('a', 'w1')]: 100,
  };
  await expectMilliseconds(series, 10_000);
});

it('assumes what a worker does while none tells, or tells 0', async () => {
  await expectMilliseconds({ [backlog('a', 'batch', 'g1')]: 10_000, [capacity('b', 'w1')]: 9 }, 2_000);
  await expectMilliseconds({ [backlog('a', 'batch', 'g1')]: 10_000, [capacity('a', 'w1')]: 0 }, 2_000);
});

it('says 0 for no backlog and nothing for one that is not known', async () => {
  await expectMilliseconds({ [backlog('a', 'batch', 'g1')]: 0 }, 0);
  await expectMilliseconds({ [capacity('a', 'w1')]: 100 }, undefined);
});

// KEDA cuts a value to thousandths: a token that takes a worker less than a microsecond must not come to none.
it('never says 0 while a token is open', async () => {
  await expectMilliseconds({ [backlog('a', 'batch', 'g1')]: 1 }, 1);
  await expectMilliseconds({ [backlog('a', 'batch', 'g1')]: 1, [capacity('a', 'w1')]: 100_000_000 }, 1);
});
