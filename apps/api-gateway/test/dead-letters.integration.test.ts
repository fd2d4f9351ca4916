import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  HEADERS,
  isJobId,
  MESSAGE_TYPES,
  NO_USAGE,
  newJobId,
  QUEUES,
  type AcceptedMessage,
  type TerminalState,
} from '@sluice/contracts';
import { closeRedis, connectRedis, redisReady } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import {
  ADMIN_KEY,
  administer,
  createFixture,
  createTenant,
  send,
  type Answer,
  type Fixture,
  type Gateway,
} from './gateway-fixture.js';

interface Letter {
  readonly id: number;
  readonly status: string;
  readonly jobId?: string;
  readonly replay?: { readonly jobId?: string; readonly note: string };
}

interface Bulk {
  readonly replayed: number;
  readonly refused: number;
  readonly data: readonly { readonly id: number; readonly outcome: string; readonly jobId?: string }[];
  readonly nextCursor: string | null;
}

/** A database of Redis that is this file's own, to be flushed. */
const REDIS_DATABASE = 11;
const input = 'print("a secret of the tenant")\n';
let fixture: Fixture;
let gateway: Gateway;
let other: Gateway;
let tenants = 0;
let tenant: string;
let key: string;

beforeAll(async () => {
  fixture = await createFixture({
    plans: 'two-at-once: { limits: { concurrentJobs: 2 } }',
    redisDatabase: REDIS_DATABASE,
  });
  [gateway, other] = await Promise.all([fixture.startGateway(), fixture.startGateway()]);
}, 60_000);
afterAll(() => fixture.close());
beforeEach(async () => {
  tenant = `tenant-${++tenants}`;
  key = await createTenant(gateway.url, tenant);
});

async function submit(extra: object = {}): Promise<AcceptedMessage> {
  const body = JSON.stringify({ model: 'guesslang', input, metadata: { team: 'search' }, class: 'batch', ...extra });
  const { status, body: job } = await send(gateway.url, '/v1/jobs', { method: 'POST', key, body });
  if (status !== 202) throw new Error(JSON.stringify(job));
  return fixture.collector.recorded((job as { id: string }).id);
}

async function end(fact: AcceptedMessage, state: TerminalState): Promise<void> {
  const { jobId, tenantId, apiKeyId, model } = fact;
  const account = { jobId, tenantId, apiKeyId, model, class: fact.class };
  await fixture.complete({ ...account, state, usage: NO_USAGE, attempt: 5, finishedAtMs: Date.now() });
  await send(gateway.url, `/v1/jobs/${jobId}?wait=10`, { key });
}

/** The letter of a message, as the collector keeps it; its id. */
async function bury(message: AcceptedMessage, extra: { queue?: string; type?: string; headers?: object } = {}) {
  const payload = Buffer.from(JSON.stringify(message));
  await fixture.collector.store.recordDeadLetter({
    queue: extra.queue ?? QUEUES.dead,
    reason: 'inference_crashed',
    attempts: 5,
    type: extra.type ?? MESSAGE_TYPES.accepted,
    messageId: message.jobId,
    jobId: message.jobId,
    tenantId: message.tenantId,
    headers: { ...extra.headers },
    payload,
    payloadBytes: payload.length,
  });
  const [letter] = await list(`job=${message.jobId}`);
  if (!letter) throw new Error('no letter was kept');
  return letter.id;
}

/** An open letter of a job that has one which was replayed: what a gateway leaves that dies before it marks the letter. */
async function buryAgain(message: AcceptedMessage): Promise<number> {
  await fixture.collector.store.deleteDeadLetters({ beforeMs: Date.now() + 60_000, limit: 1_000 });
  return bury(message);
}

async function dieOf(extra: object = {}): Promise<{ fact: AcceptedMessage; id: number }> {
  const fact = await submit(extra);
  await end(fact, 'failed');
  return { fact, id: await bury(fact) };
}

async function list(query: string): Promise<readonly Letter[]> {
  return ((await administer(gateway.url, 'GET', `/dead-letters?${query}`)) as { data: Letter[] }).data;
}

function replay(id: number, note: unknown = 'the model was mended', url = gateway.url): Promise<Answer> {
  const path = `/v1/admin/dead-letters/${id}/replay`;
  return send(url, path, { method: 'POST', key: ADMIN_KEY, body: JSON.stringify({ note }) });
}

async function replayedAs(id: number, url = gateway.url): Promise<string> {
  const { status, body } = await replay(id, 'again', url);
  const jobId = (body as Letter).replay?.jobId;
  if (status !== 200 || jobId === undefined) throw new Error(JSON.stringify(body));
  return jobId;
}

async function bulk(body: object): Promise<Bulk> {
  return (await administer(gateway.url, 'POST', '/dead-letters/replay', { note: 'all of them', ...body })) as Bulk;
}

function replaysOf({ jobId }: AcceptedMessage): Set<string> {
  const { accepted } = fixture.collector;
  return new Set(accepted.filter((message) => message.replay?.of === jobId).map((message) => message.jobId));
}

describe('dead letters', () => {
  it('are listed newest first, filtered and in pages', async () => {
    const [first, second, third] = [await dieOf(), await dieOf(), await dieOf()];
    const ids = (letters: readonly Letter[]): readonly number[] => letters.map(({ id }) => id);
    expect(ids(await list(`tenant=${tenant}`))).toEqual([third.id, second.id, first.id]);
    expect(ids(await list(`tenant=${tenant}&reason=inference_crashed&queue=dead&status=open`))).toHaveLength(3);
    expect(await list(`tenant=${tenant}&reason=expired`)).toEqual([]);
    expect(await list(`tenant=${tenant}&status=replayed`)).toEqual([]);
    expect(ids(await list(`job=${second.fact.jobId}`))).toEqual([second.id]);

    const path = `/dead-letters?tenant=${tenant}&limit=2`;
    const page = (await administer(gateway.url, 'GET', path)) as { data: Letter[]; nextCursor: string };
    expect(ids(page.data)).toEqual([third.id, second.id]);
    const rest = await administer(gateway.url, 'GET', `${path}&cursor=${page.nextCursor}`);
    expect(rest).toMatchObject({ data: [{ id: first.id }], hasMore: false, nextCursor: null });
  });

  it('show the texts of tenants only when they are asked for', async () => {
    const { id, fact } = await dieOf();
    const shown = await administer(gateway.url, 'GET', `/dead-letters/${id}`);
    expect(shown).toMatchObject({ id, object: 'dead_letter', status: 'open', jobId: fact.jobId, tenantId: tenant });
    expect(shown).toMatchObject({ message: { model: 'guesslang', metadata: { team: 'search' } }, headers: {} });
    expect(JSON.stringify(shown)).not.toContain('a secret');
    const whole = (await administer(gateway.url, 'GET', `/dead-letters/${id}?payload=true`)) as {
      payload: { encoding: string; content: string };
    };
    expect(whole.payload.encoding).toBe('utf-8');
    expect(JSON.parse(whole.payload.content)).toMatchObject({ input });
  });

  it('are for the admin key only', async () => {
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/1'],
      ['POST', '/1/replay'],
      ['POST', '/replay'],
    ] as const) {
      const answer = await send(gateway.url, `/v1/admin/dead-letters${path}`, { method, key });
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
  });

  it.each(['status=new', 'tenant=NO', 'job=1', 'limit=0', 'cursor=x', 'queue=', 'queue=%00', 'page=1'])(
    'refuse ?%s',
    async (query) => {
      const answer = await send(gateway.url, `/v1/admin/dead-letters?${query}`, { key: ADMIN_KEY });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: query.split('=')[0] }] } });
    },
  );

  it.each(['0', '-1', 'x', '1.5', '999999999999999', '9'.repeat(30)])('have none of the id %s', async (id) => {
    const answer = await send(gateway.url, `/v1/admin/dead-letters/${id}`, { key: ADMIN_KEY });
    expect(answer).toMatchObject({ status: 404, body: { code: 'dead_letter_not_found' } });
  });
});

describe('the replay of a job', () => {
  it('is a new job that asks for the same, and the old one stays as it ended', async () => {
    const { fact, id } = await dieOf();
    const { status, body } = await replay(id);
    expect([status, body]).toMatchObject([200, { id, status: 'replayed', replay: { note: 'the model was mended' } }]);
    const jobId = (body as Letter).replay?.jobId ?? '';
    expect(isJobId(jobId)).toBe(true);
    const again = await fixture.collector.recorded(jobId);
    const { tenantId, apiKeyId, model, inputTokens, reservedTokens, metadata } = fact;
    expect(again).toMatchObject({
      tenantId,
      apiKeyId,
      model,
      class: 'batch',
      input,
      inputTokens,
      reservedTokens,
      metadata,
    });
    expect(again.replay).toEqual({ of: fact.jobId, epoch: 1 });
    expect(again.expiresAtMs).toBeGreaterThan(fact.expiresAtMs);

    const job = async (of: string): Promise<unknown> => (await send(gateway.url, `/v1/jobs/${of}`, { key })).body;
    expect(await job(fact.jobId)).toMatchObject({ state: 'failed', replayedAs: jobId });
    expect(await job(jobId)).toMatchObject({ state: 'queued', replay: { of: fact.jobId, epoch: 1 } });
  });

  it('is done once', async () => {
    const { fact, id } = await dieOf();
    const jobId = await replayedAs(id);
    const answer = await replay(id);
    expect(answer).toMatchObject({ status: 409, body: { code: 'not_replayable', replayedAs: jobId } });
    expect(replaysOf(fact)).toEqual(new Set([jobId]));
  });

  it('that several ask for at two gateways at once is one job', async () => {
    const { fact, id } = await dieOf();
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) => replay(id, `ask ${index}`, index % 2 === 0 ? gateway.url : other.url)),
    );
    const statuses = new Set(answers.map(({ status }) => status));
    expect([...statuses].filter((status) => status !== 200 && status !== 409)).toEqual([]);
    const jobs = answers.flatMap(({ body }) => (body as Letter).replay?.jobId ?? []);
    expect(new Set(jobs).size).toBe(1);
    expect(replaysOf(fact)).toEqual(new Set(jobs));
  });

  it('finds its job when the gateway died before it marked the letter, also after Redis was lost', async () => {
    const { fact, id } = await dieOf();
    const jobId = await replayedAs(id);
    expect(await replayedAs(await buryAgain(fact), other.url)).toBe(jobId);

    await fixture.collector.recorded(jobId);
    const open = await buryAgain(fact);
    const redis = connectRedis({
      url: fixture.environment['SLUICE_REDIS_URL'] ?? '',
      name: 'test',
      logger: createLogger({ app: 'test', level: 'silent' }),
    });
    await redisReady(redis, 5_000);
    await redis.flushdb();
    await closeRedis(redis);
    expect(await replayedAs(open)).toBe(jobId);
    expect(replaysOf(fact)).toEqual(new Set([jobId]));
  });

  it('finds its job by the records when the idempotency key has expired', async () => {
    const hasty = await fixture.startGateway({ SLUICE_IDEMPOTENCY_TTL: '1ms' });
    const { fact, id } = await dieOf();
    const jobId = await replayedAs(id, hasty.url);
    await end(await fixture.collector.recorded(jobId), 'failed');
    expect(await replayedAs(await buryAgain(fact), hasty.url)).toBe(jobId);
    expect(replaysOf(fact)).toEqual(new Set([jobId]));
  });

  it('that died again has a letter of its own, and the next epoch', async () => {
    const { fact, id } = await dieOf();
    const second = await fixture.collector.recorded(await replayedAs(id));
    await end(second, 'failed');
    const third = await fixture.collector.recorded(await replayedAs(await bury(second)));
    expect(third.replay).toEqual({ of: fact.jobId, epoch: 2 });
    expect(third.jobId).not.toBe(second.jobId);
  });

  it('is the same for a second letter of the same job', async () => {
    const { fact, id } = await dieOf();
    const jobId = await replayedAs(id);
    const twin = await bury(fact, { queue: QUEUES.unrouted });
    expect(await replayedAs(twin)).toBe(jobId);
  });

  it('that a limit refuses leaves the letter open for later', async () => {
    await administer(gateway.url, 'PUT', `/tenants/${tenant}`, { plan: 'two-at-once' });
    key = await createTenant(gateway.url, tenant, 'two-at-once');
    const { id } = await dieOf();
    const open = [await submit(), await submit()];
    const answer = await replay(id);
    expect(answer).toMatchObject({ status: 429, body: { code: 'concurrency_limited', limit: 'concurrent-jobs' } });
    expect(await list(`tenant=${tenant}`)).toMatchObject([{ id, status: 'open' }]);
    for (const fact of open) await end(fact, 'succeeded');
    expect(isJobId(await replayedAs(id))).toBe(true);
  });

  it.each(['succeeded', 'canceled', 'queued'] as const)('is refused while the job is %s', async (state) => {
    const fact = await submit();
    if (state !== 'queued') await end(fact, state);
    const answer = await replay(await bury(fact));
    expect(answer).toMatchObject({ status: 409, body: { code: 'not_replayable', state } });
    expect(replaysOf(fact).size).toBe(0);
  });

  it('is refused for a job that nobody recorded, and for a key that was revoked', async () => {
    const { fact, id } = await dieOf();
    const stranger = await bury({ ...fact, jobId: newJobId() });
    expect(await replay(stranger)).toMatchObject({ status: 409, body: { code: 'not_replayable' } });
    await administer(gateway.url, 'DELETE', `/keys/${fact.apiKeyId}`);
    expect((await replay(id)).body).toMatchObject({
      code: 'not_replayable',
      detail: expect.stringContaining('revoked'),
    });
  });

  it.each([[''], ['x'.repeat(501)], [7], [undefined], ['\0']])('needs a note; %j is none', async (note) => {
    const { id } = await dieOf();
    const answer = await replay(id, note === undefined ? null : note);
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: 'note' }] } });
    expect(await list(`tenant=${tenant}`)).toMatchObject([{ id, status: 'open' }]);
  });
});

describe('the replay of a fact', () => {
  it('sends it to the collector again as it is', async () => {
    const fact = await submit();
    const id = await bury(fact, { headers: { [HEADERS.source]: QUEUES.results } });
    const before = fixture.collector.accepted.length;
    const { status, body } = await replay(id);
    expect([status, body]).toMatchObject([200, { status: 'replayed', replay: { note: 'the model was mended' } }]);
    expect((body as Letter).replay).not.toHaveProperty('jobId');
    while (fixture.collector.accepted.length === before) await fixture.collector.store.ping();
    expect(fixture.collector.accepted.at(-1)).toEqual(fact);
  });
});

describe('the replay of many', () => {
  it('says of each letter what became of it', async () => {
    const [first, second] = [await dieOf(), await dieOf()];
    const done = await submit();
    await end(done, 'succeeded');
    const hopeless = await bury(done);
    const { data, replayed, refused, nextCursor } = await bulk({ tenant });
    expect(data).toMatchObject([
      { id: first.id, outcome: 'replayed', jobId: expect.any(String) },
      { id: second.id, outcome: 'replayed', jobId: expect.any(String) },
      { id: hopeless, outcome: 'refused', problem: { code: 'not_replayable' } },
    ]);
    expect([replayed, refused, nextCursor]).toEqual([2, 1, null]);
    expect(await list(`tenant=${tenant}&status=replayed`)).toMatchObject([
      { id: second.id, replay: { note: 'all of them', jobId: data[1]?.jobId } },
      { id: first.id },
    ]);
    expect(await bulk({ tenant })).toMatchObject({ replayed: 0, refused: 1 });
  });

  it('goes through more of them by a cursor', async () => {
    for (let count = 0; count < 5; count++) await dieOf();
    const first = await bulk({ tenant, limit: 3 });
    const rest = await bulk({ tenant, limit: 3, cursor: first.nextCursor });
    expect([first.replayed, rest.replayed, rest.nextCursor]).toEqual([3, 2, null]);
    expect(await list(`tenant=${tenant}&status=open`)).toEqual([]);
  });

  it.each([
    {},
    { note: 'x', limit: 0 },
    { note: 'x', limit: 1001 },
    { note: 'x', status: 'open' },
    { note: 'x', job: 1 },
    [],
  ])('refuses %j', async (body) => {
    const init = { method: 'POST', key: ADMIN_KEY, body: JSON.stringify(body) };
    expect(await send(gateway.url, '/v1/admin/dead-letters/replay', init)).toMatchObject({ status: 400 });
  });
});
