import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { METHODS } from '../src/server.js';
import { createFixture, createTenant, send, type Answer, type Fixture, type Gateway } from './gateway-fixture.js';

let fixture: Fixture;
let gateway: Gateway;
let key: string;

beforeAll(async () => {
  fixture = await createFixture();
  gateway = await fixture.startGateway({ SLUICE_OPS_PORT: '0' });
  key = await createTenant(gateway.url, 'acme', 'trial');
}, 60_000);
afterAll(() => fixture.close());

const good = { model: 'guesslang', input: 'print("hello, world")\n' };
const post = (body: NonNullable<RequestInit['body']>, headers: Record<string, string> = {}): Promise<Answer> =>
  send(gateway.url, '/v1/jobs', { method: 'POST', body, key, headers });

function problem(
  { status, headers, body }: Answer,
  expected: { status: number; code: string; field?: string | RegExp },
): void {
  const fields = ((body as { errors?: { field: string }[] }).errors ?? []).map(({ field }) => field);
  expect({ status, code: (body as { code: string }).code }).toEqual({ status: expected.status, code: expected.code });
  expect(headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
  if (expected.field !== undefined) expect(fields.join(' ')).toMatch(expected.field);
}

async function nothingHappened(): Promise<void> {
  const { body } = await send(gateway.url, '/v1/quota', { key });
  const limits = (body as { limits: { used: number; held: number }[] }).limits;
  expect(limits.map(({ used, held }) => used + held)).toEqual([0, 0]);
  expect(await fixture.depth('results')).toBe(0);
  expect(await fixture.depth('work.text.standard')).toBe(0);
}

describe('a submission that is wrong', () => {
  it.each<[string, NonNullable<RequestInit['body']>, { status: number; code: string; field: string }]>([
    ['malformed JSON', '{"model":', { status: 400, code: 'invalid_json', field: 'body' }],
    ['an empty body', '', { status: 400, code: 'invalid_json', field: 'body' }],
    ['invalid UTF-8', new Uint8Array([123, 34, 255, 34, 125]), { status: 400, code: 'invalid_json', field: 'body' }],
    ['an array', '[]', { status: 400, code: 'invalid_request', field: 'body' }],
    ['a bare string', '"x"', { status: 400, code: 'invalid_request', field: 'body' }],
    [
      'an unknown model',
      JSON.stringify({ ...good, model: 'gpt-9' }),
      { status: 404, code: 'model_not_found', field: 'model' },
    ],
    [
      'a model named __proto__',
      '{"model":"__proto__","input":"x"}',
      { status: 404, code: 'model_not_found', field: 'model' },
    ],
    [
      'an empty input',
      JSON.stringify({ ...good, input: '' }),
      { status: 400, code: 'invalid_request', field: 'input' },
    ],
    [
      'a number as input',
      JSON.stringify({ ...good, input: 7 }),
      { status: 400, code: 'invalid_request', field: 'input' },
    ],
    [
      'too long an input',
      JSON.stringify({ ...good, input: 'x'.repeat(10_002) }),
      { status: 400, code: 'input_too_long', field: 'input' },
    ],
    [
      'too many texts',
      JSON.stringify({ ...good, input: Array(129).fill('x') }),
      { status: 400, code: 'invalid_request', field: 'input' },
    ],
    [
      'an unknown field',
      JSON.stringify({ ...good, stream: true }),
      { status: 400, code: 'invalid_request', field: 'stream' },
    ],
    [
      '__proto__',
      '{"model":"guesslang","input":"x","__proto__":{"class":"batch"}}',
      { status: 400, code: 'invalid_request', field: '__proto__' },
    ],
    [
      '__proto__ in metadata',
      '{"model":"guesslang","input":"x","metadata":{"__proto__":"x"}}',
      { status: 400, code: 'invalid_request', field: 'metadata' },
    ],
    [
      'deep nesting',
      `{"model":"guesslang","input":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      { status: 400, code: 'invalid_request', field: 'input' },
    ],
    [
      'a class that does not exist',
      JSON.stringify({ ...good, class: 'now' }),
      { status: 400, code: 'invalid_request', field: 'class' },
    ],
    [
      'no time to live',
      JSON.stringify({ ...good, expiresIn: 0 }),
      { status: 400, code: 'invalid_request', field: 'expiresIn' },
    ],
    [
      'a longer life than any job has',
      JSON.stringify({ ...good, expiresIn: 3_601 }),
      { status: 400, code: 'invalid_request', field: 'expiresIn' },
    ],
    [
      'a lone surrogate',
      '{"model":"guesslang","input":"\\ud800"}',
      { status: 400, code: 'invalid_request', field: 'input' },
    ],
  ])('%s is refused, naming the field', async (_name, body, expected) => {
    problem(await post(body), expected);
    await nothingHappened();
  });

  it('a body beyond the limit is refused whether or not it says its length', async () => {
    const large = JSON.stringify({ ...good, input: 'x'.repeat(1_100_000) });
    problem(await post(large), { status: 413, code: 'payload_too_large', field: 'body' });
    const chunked = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from(large));
        controller.close();
      },
    });
    const init = {
      method: 'POST',
      body: chunked,
      key,
      duplex: 'half',
      headers: { 'content-type': 'application/json' },
    };
    problem(await send(gateway.url, '/v1/jobs', init as RequestInit), {
      status: 413,
      code: 'payload_too_large',
      field: 'body',
    });
    await nothingHappened();
  });

  it('a very large body gets its answer too, not a broken connection', async () => {
    const large = JSON.stringify({ ...good, input: 'x'.repeat(20_000_000) });
    for (let round = 0; round < 5; round++) {
      problem(await post(large), { status: 413, code: 'payload_too_large', field: 'body' });
    }
  });

  it('a body that is not plain JSON is refused by its headers', async () => {
    problem(await post('a=b', { 'content-type': 'application/x-www-form-urlencoded' }), {
      status: 415,
      code: 'unsupported_media_type',
      field: 'Content-Type',
    });
    problem(await post('x', { 'content-encoding': 'gzip' }), {
      status: 415,
      code: 'unsupported_media_type',
      field: 'Content-Encoding',
    });
  });

  it.each(['', 'a b', 'x'.repeat(256)])('the Idempotency-Key %p is refused', async (idempotencyKey) => {
    problem(await post(JSON.stringify(good), { 'idempotency-key': idempotencyKey }), {
      status: 400,
      code: 'invalid_request',
      field: 'Idempotency-Key',
    });
    await nothingHappened();
  });

  it('a query parameter is refused, a bare question mark is none', async () => {
    const submit = (path: string): Promise<Answer> =>
      send(gateway.url, path, { method: 'POST', key, body: JSON.stringify({ ...good, model: 'gpt-9' }) });
    problem(await submit('/v1/jobs?dry=1'), { status: 400, code: 'invalid_request', field: 'dry' });
    problem(await submit('/v1/jobs?'), { status: 404, code: 'model_not_found' });
    await nothingHappened();
  });

  it('more tokens than a limit ever holds are refused for good', async () => {
    const answer = await post(JSON.stringify({ ...good, input: Array(100).fill('x'.repeat(10_000)) }));
    problem(answer, { status: 400, code: 'exceeds_limit' });
    expect(answer.body).toMatchObject({ limit: 'tokens-per-minute', requested: 1_000_000 });
    await nothingHappened();
  });

  it('any JSON at all is answered by a problem or a job, never by a 5xx', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.jsonValue(), async (input, metadata) => {
        const { status } = await post(JSON.stringify({ model: 'guesslang', input, metadata, class: 'none' }));
        expect(status).toBe(400);
      }),
      { numRuns: 100 },
    );
    await nothingHappened();
  });
});

describe('a caller that is not known', () => {
  it.each([
    ['no header', undefined],
    ['another scheme', 'Basic dXNlcjpwYXNz'],
    ['an empty key', 'Bearer '],
    ['an unknown key', 'Bearer slk_0000000000000000000000000000000000000000000'],
    ['a very long key', `Bearer ${'k'.repeat(5000)}`],
  ])('is refused with %s', async (_name, authorization) => {
    const headers = authorization === undefined ? {} : { authorization };
    const answer = await send(gateway.url, '/v1/jobs', { method: 'POST', body: JSON.stringify(good), headers });
    problem(answer, { status: 401, code: 'unauthenticated' });
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
  });

  it('may not use the admin API with a tenant key, nor the tenant API with the admin key', async () => {
    const body = JSON.stringify({ plan: 'demo' });
    problem(await send(gateway.url, '/v1/admin/tenants/x', { method: 'PUT', body, key }), {
      status: 403,
      code: 'forbidden',
    });
    problem(await send(gateway.url, '/v1/quota', { key: 'slk_admin_of_the_tests' }), {
      status: 401,
      code: 'unauthenticated',
    });
  });
});

describe('a resource that does not exist', () => {
  it.each([
    ['/v1/jobs/not-an-id', 404, 'job_not_found'],
    ['/v1/jobs/0190a8f4-7c1e-4000-8000-000000000000', 404, 'job_not_found'],
    ['/v1/jobs/0190a8f4-7c1e-7000-8000-000000000000', 404, 'job_not_found'],
    ['/v1/jobs/%00', 404, 'job_not_found'],
    ['/v1/jobs/%E0%A4%A', 400, 'invalid_request'],
    ['/v1/jobs/0190a8f4-7c1e-7000-8000-000000000000?wait=never', 400, 'invalid_request'],
    ['/v1/jobs/0190a8f4-7c1e-7000-8000-000000000000?wait=61', 400, 'invalid_request'],
    ['/v1/usage?from=yesterday', 400, 'invalid_request'],
    ['/v1/usage?from=2026-02-01&to=2026-01-01', 400, 'invalid_request'],
    ['/v1/usage?from=2020-01-01&to=2026-01-01', 400, 'invalid_request'],
    ['/v1/usage?groupBy=mood', 400, 'invalid_request'],
    ['/v1/usage?groupBY=day', 400, 'invalid_request'],
    ['/v1/models?x=1', 400, 'invalid_request'],
    ['/v2/jobs', 404, 'not_found'],
  ])('%s answers %d %s', async (path, status, code) => {
    problem(await send(gateway.url, path, { key }), { status, code });
  });

  it.each(METHODS)('%s says which methods it has', async (path, allow) => {
    const wrong = await send(gateway.url, path, { method: 'PROPFIND', key });
    problem(wrong, { status: 405, code: 'method_not_allowed' });
    expect(wrong.headers.get('allow')).toBe(allow);
    const options = await send(gateway.url, path, { method: 'OPTIONS' });
    expect([options.status, options.headers.get('allow')]).toEqual([204, `${allow}, OPTIONS`]);
    for (const method of allow.split(', ')) {
      const answer = await fetch(new URL(path, gateway.url), { method });
      expect(answer.status).not.toBe(405);
      await answer.body?.cancel();
    }
  });
});

describe('the admin API', () => {
  it.each([
    ['/v1/admin/tenants/Bad%20Name', 'PUT', { plan: 'demo' }, 400, 'tenantId'],
    ['/v1/admin/tenants/acme', 'PUT', { plan: 'gold' }, 400, 'plan'],
    ['/v1/admin/tenants/acme', 'PUT', { plan: 'constructor' }, 400, 'plan'],
    ['/v1/admin/tenants/acme/keys', 'POST', { name: 'a\0' }, 400, 'name'],
    ['/v1/admin/tenants/acme/keys', 'POST', { name: 'a\ud800' }, 400, 'name'],
    ['/v1/admin/tenants/acme', 'PUT', { plan: 'demo', timeZone: 'Mars/Olympus' }, 400, 'timeZone'],
    ['/v1/admin/tenants/nobody/keys', 'POST', {}, 404, ''],
    ['/v1/admin/keys/nope', 'DELETE', undefined, 404, 'apiKeyId'],
  ])('%s refuses what is wrong', async (path, method, body, status, field) => {
    const init = { method, key: 'slk_admin_of_the_tests', ...(body && { body: JSON.stringify(body) }) };
    const answer = await send(gateway.url, path, init);
    expect(answer.status).toBe(status);
    expect(JSON.stringify(answer.body)).toContain(field);
  });
});

describe('HTTP itself', () => {
  function raw(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
      let answer = '';
      socket.on('data', (chunk) => (answer += chunk.toString()));
      socket.on('close', () => resolve(answer));
      socket.on('error', reject);
      socket.write(text);
    });
  }

  it('answers headers that are too large with a problem', async () => {
    const answer = await raw(`GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    expect(answer).toContain('"code":"headers_too_large"');
  });

  it.each([
    ['no Host', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'Host'],
    [
      'an expectation it does not know',
      'GET /livez HTTP/1.1\r\nHost: x\r\nExpect: cake\r\nConnection: close\r\n\r\n',
      400,
      'Expect',
    ],
    ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', 405, 'method_not_allowed'],
  ])('answers %s with a problem', async (_name, request, status, named) => {
    const answer = await raw(request);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain('application/problem+json');
    expect(answer).toContain(named);
  });

  it('never answers garbage as if it were the request before it', async () => {
    const { body } = await post(JSON.stringify(good));
    const poll = `GET /v1/jobs/${(body as { id: string }).id}?wait=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\n\r\n`;
    const answer = await raw(`${poll}\x16garbage\r\n\r\n`);
    expect(answer).not.toContain('is not valid HTTP');
  });

  it('answers what is not HTTP with a problem', async () => {
    const answer = await raw('\x16\x03\x01 this is not HTTP\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"code":"invalid_request"');
  });

  it('counts what never becomes a request, under one route and method, and no method that somebody made up', async () => {
    const counted = async (labels: string): Promise<number> => {
      const page = await (await fetch(`${gateway.opsUrl}/metrics`)).text();
      const sample = page.split('\n').find((line) => line.startsWith(`sluice_http_requests_total{${labels}} `));
      return Number(sample?.split(' ').at(-1) ?? 0);
    };
    const unparsed = 'method="other",route="unparsed"';
    const expected = [`${unparsed},status="400"`, `${unparsed},status="431"`, `${unparsed},status="405"`];
    const others = ['method="other",route="/livez",status="405"', 'method="GET",route="none",status="400"'];
    const all = [...expected, ...others];
    const before = await Promise.all(all.map(counted));
    await raw('\x16\x03\x01 this is not HTTP\r\n\r\n');
    await raw(`GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`);
    await raw('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n');
    for (const method of ['PROPFIND', 'M-SEARCH']) {
      await raw(`${method} /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    }
    await raw('GET /livez HTTP/1.1\r\nHost: x\r\nExpect: cake\r\nConnection: close\r\n\r\n');
    const after = await Promise.all(all.map(counted));
    expect(after.map((value, index) => value - (before[index] ?? 0))).toEqual([1, 1, 1, 2, 1]);
    expect(await (await fetch(`${gateway.opsUrl}/metrics`)).text()).not.toMatch(/PROPFIND|M-SEARCH/);
  });
});
