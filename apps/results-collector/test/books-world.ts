import { jobIdTimeMs, LIMIT_SCOPES, newJobId, type LimitScope, type LimitSet, type LimitUnit } from '@sluice/contracts';
import { uniqueKeyPrefix } from '@sluice/local-services';
import {
  createQuota,
  limitsOf,
  type Limit,
  type Load,
  type LoadTicket,
  type Posted,
  type Quota,
  type RedisConnection,
  type ScopedLimits,
  type TenantState,
} from '@sluice/quota';
import type { AcceptedFact, CompletedFact, Fact, Measure, Store, TerminalFact } from '@sluice/store';
import { createSettler, settlementOf } from '../src/settlement.js';
import { createSweeper } from '../src/sweeper.js';
import { acceptedMessage, completedMessage } from './messages.js';
import { logger } from './workbench.js';

export const KEYS = ['0190b5a0-0000-4000-8000-00000000000a', '0190b5a0-0000-4000-8000-00000000000b'] as const;
export const MODELS = ['model-a', 'model-b'] as const;
export const NANO_USD_PER_TOKEN = 20;

/** So tight that some of a dozen jobs are refused by each of them. */
const SETS = {
  tenant: { tokensPerDay: 1_000, concurrentJobs: 6, moneyPerMonth: 1_100 * NANO_USD_PER_TOKEN },
  apiKey: { tokensPerDay: 700, tokensInFlight: 500 },
  model: { tokensPerDay: 600, tokensPerMonth: { max: 300, soft: true, alertAtPercent: [] } },
} satisfies Readonly<Record<LimitScope, LimitSet>>;
const HOLD_TTL_MS = 1_000;
/** Past every deadline and every grace; PostgreSQL takes Redis' clock for at most ten minutes ahead of its own. */
const LATER_MS = 9 * 60_000;

/**
 * A job that was reserved. `reserved`: its gateway may yet publish it. `published`: the broker has its fact. `gone`: it was
 * released, or its gateway died, and it never will be.
 */
export interface WorldJob {
  readonly message: AcceptedFact;
  state: 'reserved' | 'published' | 'gone';
}

/** A limit of one subject and what it is about. */
export interface SubjectLimit {
  readonly scope: LimitScope;
  readonly subject: string;
  readonly limit: Limit;
}

export interface WorldOptions {
  readonly store: Store;
  readonly redis: RedisConnection;
  readonly tenantId: string;
}

/**
 * A tenant on real servers with the broker in the test's hands: what was published lies in `queue` and is recorded when and as
 * often as the test wants.
 */
export class BooksWorld {
  readonly tenantId: string;
  readonly jobs: WorldJob[] = [];
  readonly queue: Fact[] = [];
  readonly quota: Quota;
  readonly #store: Store;
  readonly #redis: RedisConnection;
  readonly #keyPrefix = uniqueKeyPrefix();
  #ticket: LoadTicket | undefined;
  #load: Load | undefined;

  constructor({ store, redis, tenantId }: WorldOptions) {
    this.tenantId = tenantId;
    this.#store = store;
    this.#redis = redis;
    this.quota = createQuota({ redis, keyPrefix: this.#keyPrefix, logger });
  }

  /** Asks for a job; whether it was admitted. */
  async reserve(apiKeyId: string, model: string, tokens: number): Promise<WorldJob | undefined> {
    const nanoUsd = tokens * NANO_USD_PER_TOKEN;
    const { input: _input, ...message } = acceptedMessage({
      ...{ jobId: newJobId(), tenantId: this.tenantId, apiKeyId, model, inputTokens: tokens },
      ...{ reservedTokens: tokens, reservedNanoUsd: nanoUsd, expiresAtMs: Date.now() + HOLD_TTL_MS },
    });
    const { tenantId, jobId } = message;
    const { outcome } = await this.quota.reserve({
      ...{ tenantId, jobId, owner: 'gateway', apiKeyId, model, amounts: { tokens, nanoUsd } },
      ...{ scopes: scopesOf(apiKeyId, model), acceptedAtMs: jobIdTimeMs(jobId), holdTtlMs: HOLD_TTL_MS, facts: '{}' },
    });
    if (outcome !== 'reserved') return undefined;
    const job: WorldJob = { message, state: 'reserved' };
    this.jobs.push(job);
    return job;
  }

  /** What becomes of a job that was reserved: it is published, or its gateway dies, or its publish fails for sure. */
  async decide(job: WorldJob, how: 'publish' | 'lose' | 'release'): Promise<void> {
    if (job.state !== 'reserved') return;
    job.state = how === 'publish' ? 'published' : 'gone';
    if (how === 'publish') this.queue.push({ type: 'accepted', message: job.message });
    const { tenantId, jobId } = job.message;
    if (how === 'release') await this.quota.release({ tenantId, jobId, owner: 'gateway' });
  }

  /** A worker tells how a job ended; perhaps not the first to do so. */
  complete({ message, state }: WorldJob, end: Pick<CompletedFact, 'state' | 'usage'>): void {
    if (state !== 'published') return;
    const { reservedTokens, reservedNanoUsd = 0 } = message;
    const fact = completedMessage({ ...message, input: '' }, { ...end, reservedTokens, reservedNanoUsd });
    this.queue.push({ type: 'completed', message: fact });
  }

  async record(facts: readonly Fact[]): Promise<void> {
    await this.#store.recordFacts(facts);
  }

  /** What the books say of the ends of all jobs. */
  ends(): Promise<ReadonlyMap<string, TerminalFact>> {
    return this.#store.terminalFacts(this.jobs.map(({ message }) => message.jobId));
  }

  /** As a collector does with what it has recorded; jobs that have not ended in the books are left alone. */
  async settle(jobs: readonly WorldJob[]): Promise<void> {
    const ends = await this.ends();
    const settlements = jobs.flatMap(({ message }) => {
      const end = ends.get(message.jobId);
      return end === undefined || end === 'open' ? [] : [settlementOf(message, end)];
    });
    if (settlements.length > 0) await this.quota.settle(settlements);
  }

  /** Redis forgets everything. */
  async flush(): Promise<void> {
    const keys = await this.#redis.keys(`${this.#keyPrefix}:*`);
    if (keys.length > 0) await this.#redis.del(keys);
  }

  /** Every gateway has answered what was in flight; everything that was published is recorded. */
  async passFence(): Promise<void> {
    for (const [index, job] of this.jobs.entries()) await this.decide(job, index % 2 === 0 ? 'publish' : 'lose');
    await this.record(this.queue);
  }

  async beginLoad(): Promise<void> {
    this.#ticket = await this.quota.beginLoad(this.tenantId);
    this.#load = undefined;
  }

  async readForLoad(): Promise<void> {
    if (this.#ticket === undefined) return;
    await this.passFence();
    this.#load = await loadFrom(this.#store, this.#ticket);
  }

  /** True when the tenant is loaded by this. */
  async commitLoad(): Promise<boolean> {
    if (this.#load === undefined) return false;
    const outcome = await this.quota.load(this.#load);
    this.#load = this.#ticket = undefined;
    return outcome === 'loaded';
  }

  /** A collector's sweep, as if everything had expired by now; how many jobs and holds it ended. */
  async sweep(): Promise<number> {
    const { quota } = this;
    const sweeper = createSweeper({
      store: this.#store,
      quota,
      settler: createSettler({ quota, onFailure: () => undefined, onOutcome: () => undefined, maxAttempts: 1, logger }),
      report: async (message) => void this.queue.push({ type: 'completed', message }),
      passFence: () => this.passFence(),
      mayGoOn: () => true,
      redisNowMs: async () => Date.now() + LATER_MS,
      graceMs: 0,
      logger,
    });
    const { expired, settled, dropped } = await sweeper.sweep(new AbortController().signal);
    return expired + settled + dropped;
  }

  inspect(): Promise<TenantState | undefined> {
    return this.quota.inspect(this.tenantId);
  }
}

/** All limits of the tenant, its keys and its models. */
export function allLimits(): readonly SubjectLimit[] {
  const subjects = { tenant: [''], apiKey: KEYS, model: MODELS } as const;
  return LIMIT_SCOPES.flatMap((scope) =>
    subjects[scope].flatMap((subject) =>
      limitsOf(SETS[scope], scope, 'UTC', Date.now()).map((limit) => ({ scope, subject, limit })),
    ),
  );
}

/** Whether a limit is about a job. */
export function isAbout({ scope, subject }: SubjectLimit, { apiKeyId, model }: AcceptedFact): boolean {
  return scope === 'tenant' || subject === (scope === 'apiKey' ? apiKeyId : model);
}

/** What is held for a job in a unit. */
export function heldOf({ reservedTokens, reservedNanoUsd = 0 }: AcceptedFact, unit: LimitUnit): number {
  return { requests: 1, tokens: reservedTokens, nanoUsd: reservedNanoUsd }[unit];
}

function scopesOf(apiKeyId: string, model: string): readonly ScopedLimits[] {
  const subjects = { tenant: '', apiKey: apiKeyId, model } as const;
  return LIMIT_SCOPES.map((scope) => {
    return { scope, subject: subjects[scope], limits: limitsOf(SETS[scope], scope, 'UTC', Date.now()) };
  });
}

/** What a gateway makes of the books. */
async function loadFrom(store: Store, ticket: LoadTicket): Promise<Load> {
  const asked = allLimits().flatMap(({ limit, ...of }) => (limit.period ? [{ ...of, limit, ...limit.period }] : []));
  const measures = asked.map(({ scope, limit: { unit }, startsAtMs: fromMs, endsAtMs: toMs }): Measure => {
    return { scope, unit, window: { kind: 'period', fromMs, toMs } };
  });
  const { amounts, openHolds } = await store.quotaFacts({ tenantId: ticket.tenantId, measures });
  const posted = amounts.flatMap(({ measure, subject, used, overage }): Posted[] => {
    const limit = asked[measure];
    // n.b. the same measure is asked for each subject; of its answers one is about this one.
    if (limit?.subject !== subject) return [];
    return [{ scope: limit.scope, subject, name: limit.limit.name, used, overage }];
  });
  const scopes = [...KEYS].flatMap((key, index) => scopesOf(key, MODELS[index] ?? MODELS[0]));
  return {
    ticket,
    scopes: scopes.filter(({ scope }, index) => scope !== 'tenant' || index === 0),
    cover: scopes.flatMap(({ limits }) => limits.map(({ name }) => name)),
    posted,
    openHolds: openHolds.map(({ reservedTokens: tokens, reservedNanoUsd: nanoUsd, ...hold }) => {
      return { ...hold, amounts: { tokens, nanoUsd } };
    }),
  };
}
