import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage } from '@sluice/contracts';
import { createFixture, createTenant, send, type Answer, type Fixture, type Gateway } from './gateway-fixture.js';
import type { TcpProxy } from './tcp-proxy.js';

let fixture: Fixture;
let gateway: Gateway;
let other: Gateway;
let postgres: TcpProxy;
let key: string;

beforeAll(async () => {
  fixture = await createFixture();
  const { proxy, url } = await fixture.proxyOf('SLUICE_POSTGRES_URL');
  postgres = proxy;
  gateway = await fixture.startGateway({ SLUICE_OPS_PORT: '0' });
  other = await fixture.startGateway({ SLUICE_OPS_PORT: '0', SLUICE_POSTGRES_URL: url });
  key = await createTenant(gateway.url, 'backlog');
}, 60_000);
afterAll(() => fixture.close());

const backlogOf = (pool: string, { opsUrl } = gateway): Promise<Answer> => send(opsUrl, `/backlog/${pool}`);

/** Samples of the backlog's metrics, by name and labels. */
async function gauges({ opsUrl } = gateway): Promise<Readonly<Record<string, number>>> {
  const page = await (await fetch(`${opsUrl}/metrics`)).text();
  const samples = page.split('\n').filter((line) => line.startsWith('sluice_backlog_'));
  return Object.fromEntries(
    samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  );
}

/** Submits and waits until the job is in the books. */
async function submit(model: string, input: string): Promise<AcceptedMessage> {
  const body = JSON.stringify({ model, input, class: 'batch' });
  const answer = await send(gateway.url, '/v1/jobs', { method: 'POST', body, key });
  expect(answer.status).toBe(202);
  return fixture.collector.recorded((answer.body as { id: string }).id);
}

/** Resolves when a reading from before has become too old. */
const laterOn = (): Promise<void> => sleep(1_100);

describe('the backlog of a pool', () => {
  it('rises by the tokens of each input and falls by them when the job ends, at every gateway', async () => {
    expect(await backlogOf('text')).toMatchObject({ status: 200, body: { pool: 'text', jobs: 0, tokens: 0 } });
    const first = await submit('guesslang', 'const a = 1;\n');
    const second = await submit('guesslang', 'SELECT name FROM users WHERE id = 7;\n');
    expect(first.inputTokens).toBeGreaterThan(0);
    await laterOn();
    const tokens = first.inputTokens + second.inputTokens;
    for (const one of [gateway, other]) {
      expect((await backlogOf('text', one)).body).toEqual({ pool: 'text', jobs: 2, tokens });
      const sample = '{class="batch",model="guesslang",pool="text"}';
      const found = await gauges(one);
      expect([found[`sluice_backlog_jobs${sample}`], found[`sluice_backlog_tokens${sample}`]]).toEqual([2, tokens]);
      expect(Object.keys(found).length).toBeGreaterThan(2);
    }
    for (const { jobId, tenantId, apiKeyId, model, class: jobClass } of [first, second]) {
      await fixture.complete({
        ...{ jobId, tenantId, apiKeyId, model, class: jobClass, state: 'failed', attempt: 1, finishedAtMs: Date.now() },
        usage: { inputTokens: 1, outputTokens: 0, cachedTokens: 0 },
      });
    }
    const isGone = async (): Promise<boolean> => (await fixture.collector.store.backlog()).length === 0;
    while (!(await isGone())) await sleep(20);
    await laterOn();
    expect((await backlogOf('text')).body).toEqual({ pool: 'text', jobs: 0, tokens: 0 });
    expect(Object.values(await gauges()).every((value) => value === 0)).toBe(true);
  });

  it('is an error for a pool that there is not, and no page for tenants', async () => {
    const { status, headers, body } = await backlogOf('none');
    expect([status, headers.get('content-type')]).toEqual([404, 'application/problem+json']);
    expect(body).toMatchObject({ code: 'not_found' });
    expect((await send(gateway.url, '/backlog/text')).status).toBe(404);
  });

  it('is an error and not 0 while PostgreSQL is away, and is known again afterwards', async () => {
    await laterOn();
    postgres.cut();
    expect((await backlogOf('text', other)).status).toBe(503);
    expect(await gauges(other)).toEqual({});
    expect((await backlogOf('text')).status).toBe(200);
    postgres.restore();
    let answer = await backlogOf('text', other);
    while (answer.status !== 200) {
      await sleep(100);
      answer = await backlogOf('text', other);
    }
    expect(Object.keys(await gauges(other)).length).toBeGreaterThan(2);
  });
});
