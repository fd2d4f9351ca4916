import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createFixture, createTenant, send, type Fixture, type Gateway } from './gateway-fixture.js';
import { createModelDirectory } from './model-directory.js';

const PLANS = `
learning: { limits: { tokensPerDay: 100000, moneyPerMonth: '100' }, estimate: { quantile: 0.9, floorTokens: 8 } }
exact: { limits: { tokensPerDay: 100000 } }`;
const CAP = 500;
/** So many jobs teach enough. */
const ENOUGH = 20;

let fixture: Fixture;
let gateway: Gateway;
let modelDir: string;

beforeAll(async () => {
  fixture = await createFixture({ plans: PLANS, usdPerMillion: { guesslang: '1' } });
  const from = fixture.environment['SLUICE_MODEL_DIR'] ?? '';
  modelDir = await createModelDirectory({ from, model: 'guesslang', maxOutputTokens: CAP });
  gateway = await fixture.startGateway({ SLUICE_MODEL_DIR: modelDir });
}, 60_000);
afterAll(async () => {
  await fixture.close();
  await rm(modelDir, { recursive: true });
});

interface Submitted {
  readonly id: string;
  readonly reservation: { readonly tokens: number; readonly maxOutputTokens: number };
}

async function submit(key: string, more: object = {}): Promise<Submitted> {
  const body = JSON.stringify({ model: 'guesslang', input: 'x'.repeat(10), ...more });
  const answer = await send(gateway.url, '/v1/jobs', { method: 'POST', body, key });
  expect(answer.status).toBe(202);
  return answer.body as Submitted;
}

async function complete(key: string, { id }: Submitted, outputTokens: number): Promise<void> {
  const { jobId, tenantId, apiKeyId, model, class: jobClass, ...held } = await fixture.collector.recorded(id);
  await fixture.complete({
    ...{ jobId, tenantId, apiKeyId, model, class: jobClass },
    ...{ reservedTokens: held.reservedTokens, reservedNanoUsd: held.reservedNanoUsd },
    ...{ state: 'succeeded', usage: { inputTokens: 10, outputTokens, cachedTokens: 0 }, attempt: 1 },
    finishedAtMs: Date.now(),
  });
  const ended = await send(gateway.url, `/v1/jobs/${id}?wait=30`, { key });
  expect(ended.body).toMatchObject({ state: 'succeeded' });
}

async function learn(key: string, outputTokens: number): Promise<void> {
  for (let job = 0; job < ENOUGH; job++) await complete(key, await submit(key), outputTokens);
  // n.b. a hold follows what the reply to the one before it told.
  await submit(key);
}

describe('a learned estimate', () => {
  it('holds what jobs really produce once enough have, and never less than the floor or more than the cap', async () => {
    const key = await createTenant(gateway.url, 'learning', 'learning');
    expect((await submit(key)).reservation).toMatchObject({ tokens: 10 + CAP, maxOutputTokens: CAP });
    await learn(key, 100);
    const { reservation } = await submit(key);
    expect(reservation.tokens).toBeGreaterThanOrEqual(10 + 100);
    expect(reservation.tokens).toBeLessThanOrEqual(10 + 120);
    expect(reservation.maxOutputTokens).toBe(CAP);
    expect((await submit(key, { maxOutputTokens: 20 })).reservation).toMatchObject({ tokens: 30, maxOutputTokens: 20 });
  });

  it('books as overage what a job uses beyond its hold', async () => {
    const key = await createTenant(gateway.url, 'beyond', 'learning');
    await learn(key, 1);
    const job = await submit(key);
    expect(job.reservation.tokens).toBe(10 + 8);
    await complete(key, job, 50);
    const { body } = await send(gateway.url, '/v1/quota?model=guesslang', { key });
    const [daily] = (body as { limits: object[] }).limits;
    expect(daily).toMatchObject({ name: 'tokens-per-day', used: ENOUGH * 11 + 60, overage: 42 });
  });

  it('is not made for a plan that does not ask for it', async () => {
    const key = await createTenant(gateway.url, 'exact', 'exact');
    await learn(key, 100);
    expect((await submit(key)).reservation.tokens).toBe(10 + CAP);
  });
});
