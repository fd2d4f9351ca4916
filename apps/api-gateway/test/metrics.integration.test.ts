import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createFixture, createTenant, administer, send, type Fixture, type Gateway } from './gateway-fixture.js';
import { createProducer, type Producer } from './producer.js';

const good = { model: 'guesslang', input: 'print("hello, world")\n' };
let fixture: Fixture;
let gateway: Gateway;
let producer: Producer;
let key: string;

beforeAll(async () => {
  fixture = await createFixture({ plans: 'two-a-minute: { limits: { requestsPerMinute: 2 } }' });
  gateway = await fixture.startGateway({ SLUICE_OPS_PORT: '0' });
  producer = await createProducer(fixture.environment['SLUICE_RABBITMQ_URL'] ?? '');
  key = await createTenant(gateway.url, 'counted', 'two-a-minute');
  await administer(gateway.url, 'PUT', `/producers/${producer.userId}`, { tenantId: 'counted' });
}, 60_000);
afterAll(async () => {
  await producer.close();
  await fixture.close();
});

type Samples = ReadonlyMap<string, number>;

async function samples(): Promise<Samples> {
  const page = await (await fetch(`${gateway.opsUrl}/metrics`)).text();
  const lines = page.split('\n').filter((line) => /^\w/.test(line));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

/** What has grown during some work, by sample; histograms by their counts only. */
async function grown(work: () => Promise<unknown>): Promise<Readonly<Record<string, number>>> {
  const before = await samples();
  await work();
  const after = await samples();
  return Object.fromEntries(
    [...after]
      .filter(([name]) => name.startsWith('sluice_') && /_total|_count/.test(name))
      .map(([name, value]) => [name, value - (before.get(name) ?? 0)] as const)
      .filter(([, value]) => value !== 0),
  );
}

function submit(body: unknown, headers: Readonly<Record<string, string>> = {}) {
  return send(gateway.url, '/v1/jobs', { method: 'POST', body: JSON.stringify(body), headers, key });
}

const post = (status: number) => `sluice_http_requests_total{method="POST",route="/v1/jobs",status="${status}"}`;
const postTimes = 'sluice_http_request_duration_seconds_count{method="POST",route="/v1/jobs"}';

describe('the metrics of a gateway', () => {
  it('count a first submission: request, load of the tenant, hold, publish, job', async () => {
    const counts = await grown(() => submit(good, { 'idempotency-key': 'one' }));
    expect(counts).toMatchObject({
      [post(202)]: 1,
      [postTimes]: 1,
      'sluice_jobs_accepted_total{class="standard",model="guesslang"}': 1,
      sluice_holds_reserved_total: 1,
      'sluice_tenant_loads_total{outcome="loaded"}': 1,
      sluice_tenant_load_duration_seconds_count: 1,
      // The tenant was not loaded at the first try.
      sluice_reserve_duration_seconds_count: 2,
    });
    expect(counts['sluice_publish_duration_seconds_count{publisher="jobs"}']).toBeGreaterThanOrEqual(1);
    expect(Object.keys(counts).filter((name) => /refus|repeat|fail|released/.test(name))).toEqual([]);
  });

  it('count a repeated submission, which makes no other job', async () => {
    const counts = await grown(() => submit(good, { 'idempotency-key': 'one' }));
    expect(counts).toMatchObject({ [post(202)]: 1, sluice_idempotent_repeats_total: 1 });
    expect(Object.keys(counts).filter((name) => /accepted|holds/.test(name))).toEqual([]);
  });

  it('count refusals by code, and limits by scope and name', async () => {
    await submit(good);
    expect(await grown(() => submit(good))).toMatchObject({
      [post(429)]: 1,
      'sluice_refusals_total{code="rate_limited"}': 1,
      'sluice_limit_refusals_total{limit="requests-per-minute",scope="tenant"}': 1,
    });
    const counts = await grown(() => submit({ ...good, model: '' }));
    expect(counts).toMatchObject({ [post(400)]: 1, 'sluice_refusals_total{code="invalid_request"}': 1 });
    expect(Object.keys(counts).filter((name) => /limit_refusals|reserve/.test(name))).toEqual([]);
  });

  it('name the pattern of a route and never the path', async () => {
    const secret = 'a-path-that-somebody-typed';
    const counts = await grown(async () => {
      await send(gateway.url, `/v1/jobs/${secret}`, { key });
      await send(gateway.url, `/${secret}`);
      await send(gateway.url, '/v1/jobs', { method: 'PUT' });
    });
    expect(counts).toMatchObject({
      'sluice_http_requests_total{method="GET",route="/v1/jobs/:id",status="404"}': 1,
      'sluice_http_requests_total{method="GET",route="none",status="404"}': 1,
      'sluice_http_requests_total{method="PUT",route="/v1/jobs",status="405"}': 1,
    });
    expect([...(await samples()).keys()].join('\n')).not.toContain(secret);
  });

  it('show long polls while they wait, apart from other requests', async () => {
    const jobs = (
      await send(gateway.url, '/v1/jobs', { method: 'POST', body: JSON.stringify(good), key: await otherKey() })
    ).body;
    const { id } = jobs as { id: string };
    const leaving = new AbortController();
    const poll = fetch(`${gateway.url}/v1/jobs/${id}?wait=30`, {
      headers: { authorization: `Bearer ${await otherKey()}` },
      signal: leaving.signal,
    }).catch(() => undefined);
    await until(async () => (await samples()).get('sluice_long_polls') === 1);
    leaving.abort();
    await poll;
    const route = 'method="GET",route="/v1/jobs/:id?wait"';
    await until(async () => (await samples()).get(`sluice_http_requests_total{${route},status="aborted"}`) === 1);
    await until(async () => (await samples()).get('sluice_long_polls') === 0);
  });

  it('count submissions over AMQP', async () => {
    await administer(gateway.url, 'PUT', `/producers/${producer.userId}`, { tenantId: 'other' });
    await otherKey();
    const counts = await grown(async () => {
      await until(
        async () => (await producer.ask(good, { messageId: `m${Math.random()}` })).type === 'job.accepted.reply.v1',
      );
      await producer.ask({ ...good, model: 'nobody-has-it' }, { messageId: 'refused' });
    });
    expect(counts['sluice_ingest_submissions_total{outcome="accepted"}']).toBe(1);
    expect(counts['sluice_ingest_submissions_total{outcome="refused"}']).toBeGreaterThanOrEqual(1);
    expect(counts['sluice_refusals_total{code="model_not_found"}']).toBe(1);
  });

  it('show connections and nothing in flight when nothing is', async () => {
    const now = await samples();
    expect(now.get('sluice_broker_connected{connection="publish"}')).toBe(1);
    expect(now.get('sluice_broker_blocked{connection="publish"}')).toBe(0);
    expect(now.get('sluice_broker_reconnects_total{connection="ingest"}')).toBe(0);
    expect(now.get('sluice_admissions_in_flight')).toBe(0);
    expect(now.get('sluice_abandoned_holds')).toBe(0);
    expect(now.get('sluice_tenants_loading')).toBe(0);
  });
});

let other: Promise<string> | undefined;

/** Of a tenant that no limit refuses. */
function otherKey(): Promise<string> {
  return (other ??= createTenant(gateway.url, 'other'));
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}
