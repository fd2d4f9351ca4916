import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { AppProcess } from '../src/app-process.js';
import { call, closeClient, createTenant, type Tenant } from '../src/client.js';
import { loadDemoTexts } from '../src/demo-data.js';
import type { DemoJob } from '../src/demo-run.js';
import type { Suite } from '../src/suite.js';
import { booksOf } from './books-of.js';
import { isolate, type Isolated } from './isolated-suite.js';

let isolated: Isolated;
let suite: Suite | undefined;

beforeAll(async () => {
  isolated = await isolate();
});
afterEach(async () => {
  await suite?.stop();
  suite = undefined;
});
afterAll(async () => {
  await closeClient();
  await isolated.close();
});

const ANSWER_DEADLINE_MS = 60_000;

/** Repeats a call until it gets an answer that is not "try again": a client of a system whose parts are being killed. */
async function insist<Body>(urls: readonly string[], path: string, options: Parameters<typeof call>[2]): Promise<Body> {
  const until = Date.now() + ANSWER_DEADLINE_MS;
  for (let attempt = 0; Date.now() < until; attempt++) {
    const url = urls[attempt % urls.length] ?? '';
    const answer = await call<Body>(url, path, options).catch(() => undefined);
    if (answer && answer.status < 300) return answer.body;
    if (answer && answer.status < 429)
      throw new Error(`${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    await sleep(50);
  }
  throw new Error(`${path} had no answer in ${ANSWER_DEADLINE_MS} ms`);
}

async function submit(urls: readonly string[], tenant: Tenant, input: string): Promise<DemoJob> {
  return insist<DemoJob>(urls, '/v1/jobs', {
    method: 'POST',
    key: tenant.key,
    headers: { 'idempotency-key': randomUUID() },
    body: { model: 'guesslang', input },
  });
}

async function finish(urls: readonly string[], tenant: Tenant, id: string): Promise<DemoJob> {
  for (;;) {
    const job = await insist<DemoJob>(urls, `/v1/jobs/${id}?wait=5`, { key: tenant.key });
    if (job.state !== 'queued' && job.state !== 'running') return job;
  }
}

/** Starts an app again as soon as it is gone, as an orchestrator would. */
async function killAndRestart(app: AppProcess): Promise<void> {
  await app.kill();
  await app.restart();
}

async function expectRightBooks(running: Suite, tenant: Tenant, jobs: readonly DemoJob[]): Promise<void> {
  const billed = jobs.reduce((sum, { usage }) => sum + (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0), 0);
  const books = await booksOf(isolated, running.url, tenant);
  const entries = jobs.map(({ id }) => books.ledger.get(id));
  expect(entries.every((entry) => entry?.reserves === 1 && entry.terminals === 1)).toBe(true);
  expect(books.ledger.size).toBe(jobs.length);
  expect({ used: books.used, held: books.held, alarms: books.alarms }).toEqual({ used: billed, held: 0, alarms: [] });
}

describe('the suite', () => {
  it('turns real text into results, a ledger and a bill', async () => {
    suite = await isolated.start();
    const tenant = await createTenant(suite, { tenantId: 'whole', plan: 'demo' });
    const texts = (await loadDemoTexts()).filter((_, index) => index % 10 === 0);
    const { urls } = suite;
    const jobs = await Promise.all(
      texts.map(async ({ model, input }) => {
        const body = { model, input };
        const accepted = await insist<DemoJob>(urls, '/v1/jobs', { method: 'POST', key: tenant.key, body });
        return finish(urls, tenant, accepted.id);
      }),
    );
    expect(jobs.map(({ state, error }) => ({ state, error }))).toEqual(jobs.map(() => ({ state: 'succeeded' })));
    jobs.forEach(({ output }, index) => {
      if (texts[index]?.model === 'use-lite-en') expect(output?.embeddings?.[0]).toHaveLength(512);
      else expect(output?.classifications?.[0]?.[0]?.score).toBeGreaterThan(0);
    });
    await expectRightBooks(suite, tenant, jobs);

    const usage = await insist<{ data: { jobs: number }[] }>(urls, '/v1/usage?groupBy=model', { key: tenant.key });
    expect(usage.data.reduce((sum, row) => sum + Number(row.jobs), 0)).toBe(jobs.length);
  });

  it('loses nothing and bills nothing twice when each app is killed in the middle of work', async () => {
    suite = await isolated.start({ gateways: 2, workers: 2, collectors: 2 });
    const tenant = await createTenant(suite, { tenantId: 'killed', plan: 'demo' });
    const { urls } = suite;
    let submitting = true;
    const lanes = Array.from({ length: 8 }, async () => {
      const jobs: DemoJob[] = [];
      while (submitting) jobs.push(await submit(urls, tenant, `def f():\n    return "${randomUUID()}"\n`));
      return jobs;
    });
    for (const app of suite.apps) {
      await sleep(150);
      await killAndRestart(app);
    }
    submitting = false;
    const accepted = (await Promise.all(lanes)).flat();
    const jobs = await Promise.all(accepted.map(({ id }) => finish(urls, tenant, id)));
    expect(jobs.filter(({ state }) => state !== 'succeeded')).toEqual([]);
    expect(jobs.length).toBeGreaterThan(50);
    await expectRightBooks(suite, tenant, jobs);
  });

  it('stops with work in flight and finishes it after the next start, each job once', async () => {
    const first = await isolated.start();
    const tenant = await createTenant(first, { tenantId: 'stopped', plan: 'demo' });
    const accepted = await Promise.all(
      Array.from({ length: 300 }, () => submit(first.urls, tenant, `const id = "${randomUUID()}";\n`)),
    );
    await first.stop();
    expect(first.apps.map(({ exitCode }) => exitCode)).toEqual(first.apps.map(() => 0));
    suite = await isolated.start();
    const { urls } = suite;
    const jobs = await Promise.all(accepted.map(({ id }) => finish(urls, tenant, id)));
    expect(jobs.filter(({ state }) => state !== 'succeeded')).toEqual([]);
    await expectRightBooks(suite, tenant, jobs);
  });
});
