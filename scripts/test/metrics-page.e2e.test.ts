import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, closeClient, createTenant, mustCall } from '../src/client.js';
import { parseMetricsPage, parseMetricsTable, type Metric } from '../src/metrics-page.js';
import { ROOT } from '../src/paths.js';
import type { Suite } from '../src/suite.js';
import { isolate, type Isolated } from './isolated-suite.js';

const INPUT = 'words that only this tenant knows';

let isolated: Isolated;
let suite: Suite;
/** Pages by the name of the app's process. */
let pages: ReadonlyMap<string, string>;

beforeAll(async () => {
  isolated = await isolate();
  suite = await isolated.start();
  const { key } = await createTenant(suite, { tenantId: 'seen', plan: 'demo' });
  for (const model of ['guesslang', 'use-lite-en']) {
    const { id } = await mustCall<{ id: string }>(suite.url, '/v1/jobs', {
      method: 'POST',
      key,
      body: { model, input: INPUT },
    });
    const { state } = await mustCall<{ state: string }>(suite.url, `/v1/jobs/${id}?wait=30`, { key });
    expect(state).toBe('succeeded');
  }
  await call(suite.url, '/v1/jobs', { method: 'POST', key, body: { model: 'nobody-has-it', input: INPUT } });
  const read = Object.entries(suite.ops).map(async ([name, url]) => {
    return [name, await (await fetch(`${url}/metrics`)).text()] as const;
  });
  pages = new Map(await Promise.all(read));
}, 180_000);
afterAll(async () => {
  await closeClient();
  await isolated.close();
});

/** By name, with what differs between apps left out. */
function byName(metrics: readonly Metric[]): ReadonlyMap<string, Metric> {
  return new Map(metrics.map((metric) => [metric.name, metric]));
}

function sampleOf(line: string): readonly [sample: string, value: number] {
  const end = line.lastIndexOf(' ');
  return [line.slice(0, end), Number(line.slice(end))];
}

describe('the table of metrics', () => {
  it.each(['api-gateway', 'ml-worker', 'results-collector'])('is what %s shows after real work', async (app) => {
    const table = parseMetricsTable(await readFile(join(ROOT, 'docs/04-operations/metrics.md'), 'utf8'));
    const shown = byName(parseMetricsPage(pages.get(`${app}-1`) ?? ''));
    const documented = table.filter(({ apps }) => apps.includes(app));
    expect([...shown.keys()].sort()).toEqual(documented.map(({ name }) => name).sort());
    for (const { name, type, help, labels } of documented) {
      expect(shown.get(name)).toEqual({ name, type, help, labels });
    }
  });

  it('counts each job once, everywhere it passed', () => {
    const samples = new Map([...pages.values()].flatMap((page) => page.split('\n').map(sampleOf)));
    for (const model of ['guesslang', 'use-lite-en']) {
      const labels = `class="standard",model="${model}"`;
      expect({
        accepted: samples.get(`sluice_jobs_accepted_total{${labels}}`),
        waited: samples.get(`sluice_job_queue_wait_seconds_count{${labels}}`),
        ended: samples.get(`sluice_worker_jobs_total{model="${model}",state="succeeded"}`),
        estimated: samples.get(`sluice_estimate_ratio_count{model="${model}"}`),
        fitted: samples.get(`sluice_estimate_ratio_bucket{model="${model}",le="1"}`),
      }).toEqual({ accepted: 1, waited: 1, ended: 1, estimated: 1, fitted: 1 });
      expect(samples.get(`sluice_worker_capacity_tokens_per_second{model="${model}",pool="text"}`)).toBeGreaterThan(0);
    }
    expect(samples.get('sluice_worker_input_tokens_total{model="guesslang"}')).toBe(INPUT.length);
    expect(samples.get('sluice_facts_recorded_total{type="completed"}')).toBe(2);
    expect(samples.get('sluice_settlements_total{outcome="settled"}')).toBe(2);
    expect(samples.get('sluice_refusals_total{code="model_not_found"}')).toBe(1);
    expect(samples.get('sluice_worker_inference_processes{state="warm"}')).toBeGreaterThan(0);
  });

  it('follows the conventions of names', () => {
    for (const page of pages.values()) {
      for (const { name, type } of parseMetricsPage(page)) {
        expect(name).toMatch(/^(sluice|process|nodejs)_[a-z0-9_]+$/);
        expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
      }
    }
  });

  it('shows nothing of what tenants wrote', () => {
    for (const page of pages.values()) expect(page).not.toMatch(/words that only|nobody-has-it|seen"/);
  });
});
