import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { DeadLetterQuery, DeadLetterSummary } from '../src/index.js';
import { createStoreModel, type StoreModel } from '../src/model/index.js';
import { BEGIN_MS, HOUR, MINUTE } from './random-books.js';
import { useTurnedBooks } from './turned-books.js';

const books = useTurnedBooks();
const JOB_ID = '01a36e23-3c60-7caa-8000-00000000021e';
const MEMBERS = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'] as const;

const letter = fc.record({
  queue: fc.constantFrom('dead', 'ingest'),
  reason: fc.constantFrom('attempts', 'malformed', 'with\0nothing'),
  attempts: fc.integer({ min: 1, max: 2 }),
  type: fc.constant('job.accepted.v1'),
  messageId: fc.constantFrom('', 'message-a'),
  jobId: fc.constantFrom(undefined, JOB_ID, 'no uuid'),
  tenantId: fc.constantFrom(undefined, 'acme'),
  headers: fc.constantFrom({}, { 'x-attempt': 2, odd: 'a\0b' }),
  payload: fc.constantFrom('', 'some', 'other').map((text) => Buffer.from(text)),
  payloadBytes: fc.constant(9),
});
const query: fc.Arbitrary<DeadLetterQuery> = fc.record(
  {
    status: fc.constantFrom('open' as const, 'replayed' as const),
    queue: fc.constantFrom('dead', 'ingest'),
    reason: fc.constantFrom('attempts', 'malformed'),
    tenantId: fc.constant('acme'),
    jobId: fc.constantFrom(JOB_ID, MEMBERS[0], 'no uuid'),
    limit: fc.integer({ min: 1, max: 5 }),
  },
  { requiredKeys: ['limit'] },
);
const member = fc.record({
  memberId: fc.constantFrom(...MEMBERS),
  role: fc.constantFrom('gateway' as const, 'collector' as const),
  queue: fc.constantFrom('fence.1', 'fence.2'),
});
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('letter' as const), letter }) },
  fc.record({ do: fc.constant('replay' as const), which: fc.nat(9), jobId: fc.constantFrom(undefined, JOB_ID) }),
  fc.record({ do: fc.constant('delete' as const), agoMs: fc.integer({ min: 0, max: HOUR }), limit: fc.nat(2) }),
  fc.record({ do: fc.constant('register' as const), member }),
  fc.record({ do: fc.constant('forget' as const), memberId: fc.constantFrom(...MEMBERS) }),
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('turn' as const), byMs: fc.integer({ min: 1, max: 20 * MINUTE }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface World {
  readonly model: StoreModel;
  nowMs: number;
}

const ALL = { limit: 1_000 };
/** n.b. a letter that is there already takes an id all the same in PostgreSQL. */
const withoutId = ({ id: _id, ...letterOf }: DeadLetterSummary): Omit<DeadLetterSummary, 'id'> => letterOf;

async function carryOut(world: World, one: Step): Promise<void> {
  const { model, nowMs } = world;
  const [store] = books.stores;
  switch (one.do) {
    case 'letter':
      model.recordDeadLetter(nowMs, one.letter);
      return store.recordDeadLetter(one.letter);
    case 'replay': {
      const [real, modelled] = [await store.listDeadLetters(ALL), model.listDeadLetters(nowMs, ALL)];
      const replay = { note: 'again', jobId: one.jobId };
      const was = await store.markReplayed({ ...replay, id: real[one.which]?.id ?? 0 });
      expect(was).toBe(model.markReplayed(nowMs, { ...replay, id: modelled[one.which]?.id ?? 0 }));
      return;
    }
    case 'delete': {
      const options = { beforeMs: nowMs - one.agoMs, limit: one.limit };
      expect(await store.deleteDeadLetters(options)).toEqual(model.deleteDeadLetters(nowMs, options));
      return;
    }
    case 'register':
      model.registerFenceMember(nowMs, one.member);
      return store.registerFenceMember(one.member);
    case 'forget':
      model.forgetFenceMember(nowMs, one.memberId);
      return store.forgetFenceMember(one.memberId);
    case 'turn':
      world.nowMs += one.byMs;
      return books.turn(world.nowMs);
    default:
      one satisfies never;
  }
}

async function compare({ model, nowMs }: World, queries: readonly DeadLetterQuery[]): Promise<void> {
  const [store] = books.stores;
  for (const asked of [ALL, ...queries]) {
    const found = await store.listDeadLetters(asked);
    expect(found.map(withoutId)).toEqual(model.listDeadLetters(nowMs, asked).map(withoutId));
  }
  const [real, modelled] = [await store.listDeadLetters(ALL), model.listDeadLetters(nowMs, ALL)];
  for (const [index, { id }] of real.entries()) {
    const kept = await store.findDeadLetter(id);
    const expected = model.findDeadLetter(nowMs, modelled[index]?.id ?? 0);
    expect(kept && withoutId(kept)).toEqual(expected && withoutId(expected));
  }
  expect(await store.fenceMembers()).toEqual(model.fenceMembers(nowMs));
}

describe('the model of the store', () => {
  it('keeps dead letters and members of the fence as PostgreSQL does', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 15, size: 'max' }),
        fc.array(query, { maxLength: 4 }),
        async (steps, queries) => {
          await books.empty();
          await books.turn(BEGIN_MS);
          const world: World = { model: createStoreModel(), nowMs: BEGIN_MS };
          for (const one of steps) await carryOut(world, one);
          await compare(world, queries);
        },
      ),
      { numRuns: 60, interruptAfterTimeLimit: 20_000 },
    );
  });

  it('knows principals, producers and API keys as PostgreSQL does', async () => {
    await books.empty();
    await books.turn(BEGIN_MS);
    const [store] = books.stores;
    const model = createStoreModel();
    const hashOf = (name: string): Buffer => createHash('sha256').update(name).digest();
    const overrides = { limits: { tokensPerDay: 7 } };
    const tenant = { tenantId: 'acme', plan: 'basic', timeZone: 'Asia/Tokyo', overrides };
    await store.upsertTenant(tenant);
    model.putTenant({ ...tenant, createdAtMs: BEGIN_MS });
    for (const [index, expiresInMs] of [undefined, HOUR, MINUTE].entries()) {
      const name = `key-${index}`;
      await books.turn(BEGIN_MS + index);
      const key = {
        ...{ tenantId: 'acme', name, keyHash: hashOf(name), prefix: 'sk', limits: { concurrentJobs: index + 1 } },
        ...(expiresInMs !== undefined && { expiresAtMs: BEGIN_MS + expiresInMs }),
      };
      model.putApiKey({ ...key, ...(await store.createApiKey(key)), createdAtMs: BEGIN_MS + index });
    }
    const { apiKeyId } = await store.upsertProducer({ userId: 'robot', tenantId: 'acme' });
    const [made] = await books.query<{ key_hash: Buffer }>('SELECT key_hash FROM api_keys WHERE api_key_id = $1', [
      apiKeyId,
    ]);
    const ofProducer = { apiKeyId, tenantId: 'acme', name: 'producer robot', prefix: '' };
    model.putApiKey({ ...ofProducer, keyHash: made?.key_hash ?? Buffer.alloc(32), createdAtMs: BEGIN_MS + 2 });
    model.putProducer({ userId: 'robot', tenantId: 'acme', apiKeyId });

    const nowMs = BEGIN_MS + MINUTE;
    await books.turn(nowMs);
    for (const name of ['key-0', 'key-1', 'key-2', 'nobody']) {
      expect(await store.findPrincipal(hashOf(name))).toEqual(model.findPrincipal(nowMs, hashOf(name)));
    }
    expect(model.findPrincipal(nowMs, hashOf('key-1'))).toMatchObject({ overrides, expiresAtMs: BEGIN_MS + HOUR });
    for (const user of ['robot', 'nobody'])
      expect(await store.findProducer(user)).toEqual(model.findProducer(nowMs, user));
    for (const tenantId of ['acme', 'other']) {
      expect(await store.findTenant(tenantId)).toEqual(model.findTenant(nowMs, tenantId));
      expect(await store.listApiKeys(tenantId)).toEqual(model.listApiKeys(nowMs, tenantId));
    }
  });
});
