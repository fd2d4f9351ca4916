import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { call, closeClient, createTenant, mustCall } from '../src/client.js';
import { loadDemoTexts } from '../src/demo-data.js';
import { booksOf } from './books-of.js';
import { isolate, type Isolated } from './isolated-suite.js';

interface Job {
  readonly id: string;
  readonly state: string;
  readonly reservation: { readonly tokens: number };
  readonly usage?: { readonly inputTokens: number; readonly outputTokens: number };
}

const JOBS = 60;
const TEXTS = 48;
let isolated: Isolated;

beforeAll(async () => {
  isolated = await isolate();
}, 120_000);
afterAll(async () => {
  await closeClient();
  await isolated.close();
});

it('cancelling jobs in the midst of work bills each for what it used and leaves the books right', async () => {
  const suite = await isolated.start({ gateways: 2, workers: 2, collectors: 2 });
  const tenant = await createTenant(suite, { tenantId: 'undecided', plan: 'demo' });
  const { key } = tenant;
  const sentences = (await loadDemoTexts()).filter(({ model }) => model === 'use-lite-en').slice(0, TEXTS);
  const body = { model: 'use-lite-en', input: sentences.map(({ input }) => input) };
  const url = (index: number): string => suite.urls[index % suite.urls.length] ?? '';

  async function submitAndCancel(index: number): Promise<{ id: string; status: number | undefined }> {
    const { id } = await mustCall<Job>(url(index), '/v1/jobs', { method: 'POST', key, body });
    if (index % 2 === 0) return { id, status: undefined };
    const { status } = await call(url(index + 1), `/v1/jobs/${id}`, { method: 'DELETE', key });
    return { id, status };
  }
  const outcomes = await Promise.all(Array.from({ length: JOBS }, (_, index) => submitAndCancel(index)));

  async function finished(id: string): Promise<Job> {
    for (;;) {
      const job = await mustCall<Job>(suite.url, `/v1/jobs/${id}?wait=30`, { key });
      if (job.state !== 'queued' && job.state !== 'running') return job;
    }
  }
  const jobs = await Promise.all(outcomes.map(({ id }) => finished(id)));
  let billed = 0;
  for (const [index, { state, usage, reservation }] of jobs.entries()) {
    const { status } = outcomes[index] ?? {};
    if (status === undefined || status === 409) expect(state).toBe('succeeded');
    else expect([200, 202]).toContain(status);
    if (status === 200) expect(state).toBe('canceled');
    const tokens = (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0);
    expect(tokens).toBeLessThanOrEqual(reservation.tokens);
    if (state === 'succeeded') expect(tokens).toBe(reservation.tokens);
    billed += tokens;
  }
  expect(jobs.filter(({ state }) => state === 'canceled').length).toBeGreaterThan(0);

  const books = await booksOf(isolated, suite.url, tenant);
  expect([...books.ledger.values()].filter(({ reserves, terminals }) => reserves !== 1 || terminals !== 1)).toEqual([]);
  expect(books.ledger.size).toBe(JOBS);
  expect({ used: books.used, held: books.held, alarms: books.alarms }).toEqual({ used: billed, held: 0, alarms: [] });
}, 180_000);
