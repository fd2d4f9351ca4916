import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { LoadTicket } from '../../src/index.js';
import { createQuotaModel } from '../../src/model/index.js';
import { BEGIN_MS, openClockedRedis, type ClockedRedis } from './clocked-redis.js';
import { expectSame } from './comparison.js';
import { checkInvariants } from './invariants.js';
import { allScopes, HOLD_TTL_MS, KEY_TTL_MS, SNAPSHOT_TTL_MS } from './ledger.js';
import { PERIOD_MS, scopesAt } from './plans.js';
import { inOne, recordClients, type RecordedClient } from './recorder.js';
import { runs } from './settings.js';

/*
 * Several clients at once, each with a connection and a will of its own. Redis tells in which order it ran their commands;
 * in that order the model must give every answer that the clients got, and end in the state that Redis ended in. So what
 * is shown for one client after the other holds for all at once.
 */
const CLIENTS = 5;
const TENANT = 'acme';
let redis: ClockedRedis;
let record: Awaited<ReturnType<typeof recordClients>>;
beforeAll(async () => {
  redis = await openClockedRedis();
  record = await recordClients(redis, CLIENTS);
});
afterAll(async () => {
  await record.close();
  await redis.close();
});

type What = 'reserve' | 'settle' | 'release' | 'drop' | 'confirm' | 'running' | 'status' | 'asked' | 'rarely';

/** What a client does next; all are about few jobs and keys, so that they meet. */
interface Act {
  readonly what: What;
  readonly job: number;
  readonly key: string | undefined;
  readonly checked: boolean;
  readonly fingerprint: string;
  readonly owner: string;
  readonly apiKeyId: string;
  readonly tokens: number;
}

const act: fc.Arbitrary<Act> = fc.record({
  what: fc.constantFrom(
    ...(['reserve', 'reserve', 'reserve', 'reserve', 'reserve', 'reserve', 'settle', 'settle', 'settle'] as const),
    ...(['release', 'drop', 'confirm', 'running', 'status', 'asked', 'asked', 'rarely'] as const),
  ),
  job: fc.nat(15),
  key: fc.constantFrom(undefined, undefined, 'a', 'b'),
  checked: fc.constantFrom(true, true, false),
  fingerprint: fc.constantFrom('f', 'f', 'f', 'g'),
  owner: fc.constantFrom('x', 'y'),
  apiKeyId: fc.constantFrom('k1', 'k2'),
  tokens: fc.nat(60),
});

const FIRST: Act = {
  ...{ what: 'asked', job: 99, key: undefined, checked: true, fingerprint: 'f', owner: 'x', apiKeyId: 'k1', tokens: 1 },
};

const seen = new Set<string>();

async function perform(client: RecordedClient, act: Act, nowMs: number, tokenOf: { token: string }): Promise<void> {
  const { what, key, fingerprint, checked, owner, apiKeyId, tokens } = act;
  const job = { tenantId: TENANT, jobId: `job-${act.job}` };
  const scopes = scopesAt(0, nowMs, apiKeyId, 'm1');
  const reservation = {
    ...{ ...job, owner, apiKeyId, model: 'm1', amounts: { tokens, nanoUsd: 10 * tokens }, scopes, facts: 'facts' },
    holdTtlMs: HOLD_TTL_MS,
    ...(key !== undefined && { idempotency: { keyHash: key, fingerprint, ttlMs: KEY_TTL_MS, checked } }),
  };
  const settlement = { ...job, tokens: tokens + 3, nanoUsd: tokens, outputTokens: 1, state: 'succeeded' as const };
  const load = async (limits: ReturnType<typeof allScopes> | undefined) => {
    // The model gives out the same ticket.
    const token = { token: '' };
    const begun = await client.call<LoadTicket | 'loaded' | 'busy'>(
      what,
      (quota) => (limits ? quota.beginLoad(TENANT, limits) : quota.beginLoad(TENANT)),
      (model) => {
        tokenOf.token = token.token;
        return limits ? model.beginLoad(TENANT, limits) : model.beginLoad(TENANT);
      },
    );
    if (!('value' in begun)) return;
    seen.add(typeof begun.value === 'string' ? begun.value : 'begun');
    if (typeof begun.value === 'string') return;
    const ticket = begun.value;
    token.token = ticket.token;
    const all = allScopes(0, nowMs);
    const hold = { apiKeyId, model: 'm1', amounts: { tokens, nanoUsd: 0 }, acceptedAtMs: nowMs };
    const facts = {
      ...{ ticket, scopes: all, cover: all.flatMap(({ limits: some }) => some.map(({ name }) => name)), posted: [] },
      openHolds: [{ ...hold, jobId: job.jobId, expiresAtMs: nowMs + HOLD_TTL_MS }],
    };
    const loaded = await client.call(
      what,
      (quota) => quota.load(facts),
      (model) => model.load(facts),
    );
    seen.add('value' in loaded ? `load: ${loaded.value}` : loaded.error);
  };
  const acts: Record<Act['what'], () => Promise<unknown>> = {
    reserve: async () => {
      const answer = await client.call(
        what,
        (quota) => quota.reserve(reservation),
        (model) => model.reserve(reservation),
      );
      seen.add('value' in answer ? answer.value.outcome : answer.error);
    },
    settle: async () => {
      const answer = await client.call(
        what,
        (quota) => quota.settle([settlement]),
        (model) => inOne('settle', (atMs) => [model.settle(atMs, settlement)]),
      );
      if ('value' in answer) seen.add(String(answer.value[0]));
    },
    release: () =>
      client.call(
        what,
        (quota) => quota.release({ ...job, owner }),
        (model) => model.release({ ...job, owner }),
      ),
    drop: () =>
      client.call(
        what,
        (quota) => quota.dropHold(job),
        (model) => model.dropHold(job),
      ),
    confirm: () =>
      client.call(
        what,
        (quota) => quota.confirm(job),
        (model) => inOne('confirm', (atMs) => model.confirm(atMs, job)),
      ),
    running: () =>
      client.call(
        what,
        (quota) => quota.running([job]),
        (model) => inOne('running', (atMs) => void model.running(atMs, job)),
      ),
    status: () =>
      client.call(
        what,
        (quota) => quota.status(TENANT, scopes),
        (model) => inOne('status', (atMs) => model.status(atMs, TENANT, scopes)),
      ),
    asked: () => load(allScopes(0, nowMs)),
    rarely: () => {
      if (act.job > 3) return load(undefined);
      return client.call(
        what,
        (quota) => quota.unload(TENANT),
        (model) => model.unload(TENANT),
      );
    },
  };
  await acts[what]();
}

const programs = fc.array(fc.array(act, { minLength: 12, maxLength: 25, size: 'max' }), {
  ...{ minLength: CLIENTS, maxLength: CLIENTS },
});
/** The clock goes on, and now and then is set back, while they are at it. */
const ticks = fc.array(fc.constantFrom(1, 40, 1_000, 9_000, PERIOD_MS / 2, -1, -1_500), { maxLength: 12 });

describe('clients at once', () => {
  it('get the answers, and leave the state, of some order of their commands', async () => {
    await fc.assert(
      fc.asyncProperty(programs, ticks, async (all, moves) => {
        await redis.flush();
        const tokenOf = { token: '' };
        const model = createQuotaModel({ newId: () => tokenOf.token, snapshotTtlMs: SNAPSHOT_TTL_MS });
        let nowMs = BEGIN_MS;
        await record.moveClock(nowMs);
        await record.reset();
        const empty = await redis.dump();
        const clock = async () => {
          for (const byMs of moves) await record.moveClock((nowMs += byMs));
        };
        const client = async (acts: readonly Act[], i: number) => {
          const own = record.clients[i];
          for (const one of [FIRST, ...acts]) if (own) await perform(own, one, nowMs, tokenOf);
        };
        await Promise.all([clock(), ...all.map(client)]);
        await record.replay(model, BEGIN_MS);
        const dump = await redis.dump();
        expectSame({ dump, model, nowMs }, TENANT);
        checkInvariants({ before: empty, after: dump, event: { kind: 'lost' }, nowMs, tenants: [TENANT] });
      }),
      // n.b. no two runs are alike, so there is nothing to shrink.
      { ...runs(30), endOnFailure: true },
    );
    const met = ['reserved', 'refused', 'exists', 'conflict', 'not_loaded', 'settled', 'missing', 'early'];
    const loads = ['begun', 'loaded', 'busy', 'load: loaded', 'load: superseded'];
    expect([...met, ...loads].filter((outcome) => !seen.has(outcome))).toEqual([]);
  }, 120_000);
});
