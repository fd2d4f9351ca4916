import { LIMIT_SCOPES, LIMIT_UNITS, TERMINAL_STATES } from '@sluice/contracts';
import fc from 'fast-check';
import type { Fact, Measure } from '../src/index.js';
import { accepted, completed, jobIdAt } from './support.js';

export const SECOND = 1_000;
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const BUCKET = 15 * MINUTE;

/** Where the turned clock begins: a few minutes before a month ends, so that days, months and partitions all turn. */
export const BEGIN_MS = Date.UTC(2027, 0, 31, 23, 52, 30);

export const TENANTS = ['acme', 'other'] as const;
export const KEYS = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'] as const;
export const MODELS = ['embedder', 'chat', 'unpriced'] as const;
export const KEY_HASHES = ['hash-a', 'hash-b'] as const;

const tokens = fc.integer({ min: 0, max: 300 });
const nanoUsd = fc.integer({ min: 0, max: 400_000 });
const usage = fc
  .tuple(fc.constantFrom(0, 1, 150), tokens, fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([few, many, part]) => ({ inputTokens: many, outputTokens: few, cachedTokens: Math.floor(many * part) }));

/** How a job may end; one job may be told to have ended in several ways. */
const end = fc.record({ state: fc.constantFrom(...TERMINAL_STATES), usage, tellsHold: fc.boolean() });

/** When jobs are accepted, from the beginning of the clock: mostly about now, around the edges of buckets and of the month. */
const offset = fc.oneof(
  fc.integer({ min: -2 * MINUTE, max: 10 * MINUTE }),
  fc.integer({ min: -45 * MINUTE, max: 0 }),
  fc.integer({ min: -27 * HOUR, max: 0 }),
  fc.constantFrom(-7.5 * MINUTE, -22.5 * MINUTE, 7.5 * MINUTE, 7.5 * MINUTE - 1),
);

export const job = fc.record({
  offset,
  tenant: fc.constantFrom(...TENANTS),
  apiKeyId: fc.constantFrom(...KEYS),
  model: fc.constantFrom(...MODELS),
  class: fc.constantFrom('interactive' as const, 'batch' as const),
  reservedTokens: tokens,
  reservedNanoUsd: fc.option(nanoUsd, { nil: undefined, freq: 5 }),
  /** From the quarter of an hour on, so that deadlines tie. */
  ttlMs: fc.constantFrom(MINUTE, 10 * MINUTE, 25 * MINUTE, HOUR),
  keyHash: fc.option(fc.constantFrom(...KEY_HASHES), { nil: undefined }),
  replays: fc.option(fc.nat(9), { nil: undefined, freq: 3 }),
  ends: fc.tuple(end, end),
});
export type RandomJob = (typeof job extends fc.Arbitrary<infer J> ? J : never) & object;

/** A job's facts: accepted, and two ends of which the first to be recorded counts. */
export type JobFacts = readonly [Fact, Fact, Fact];

export function factsOf(jobs: readonly RandomJob[]): readonly JobFacts[] {
  const ids = jobs.map((one) => jobIdAt(BEGIN_MS + one.offset));
  return jobs.map((one, index) => {
    const { tenant: tenantId, apiKeyId, model, class: jobClass, reservedTokens, reservedNanoUsd, keyHash } = one;
    const jobId = ids[index] ?? '';
    const base = { jobId, tenantId, apiKeyId, model, class: jobClass };
    const replayed = one.replays === undefined ? undefined : ids[one.replays];
    const acceptance = accepted({
      ...base,
      reservedTokens,
      ...(reservedNanoUsd !== undefined && { reservedNanoUsd }),
      expiresAtMs: Math.floor((BEGIN_MS + one.offset) / BUCKET) * BUCKET + one.ttlMs,
      ...(keyHash !== undefined && { idempotency: { keyHash, fingerprint: `request-${index}` } }),
      ...(replayed !== undefined && replayed !== jobId && { replay: { of: replayed, epoch: 1 } }),
    });
    const ends = one.ends.map(({ state, usage: used, tellsHold }, which) =>
      completed({
        ...base,
        ...{ state, usage: used, modelVersion: `version-${which}` },
        ...(tellsHold && { reservedTokens, ...(reservedNanoUsd !== undefined && { reservedNanoUsd }) }),
      }),
    );
    return [acceptance, ...ends] as unknown as JobFacts;
  });
}

const rate = fc.record({
  kind: fc.constant('rate' as const),
  // Slow ones too, so that much of what was taken long ago is still lacking.
  max: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2_000 })),
  windowMs: fc.constantFrom(MINUTE, 10 * MINUTE, HOUR),
});
const period = fc
  .tuple(fc.integer({ min: -28 * HOUR, max: HOUR }), fc.integer({ min: -28 * HOUR, max: HOUR }), fc.boolean())
  .map(([from, to, isWhole]) => {
    const hourMs = Math.floor(BEGIN_MS / HOUR) * HOUR;
    const cut = (ms: number): number => hourMs + (isWhole ? Math.floor(ms / HOUR) * HOUR : ms);
    return { kind: 'period' as const, fromMs: cut(Math.min(from, to)), toMs: cut(Math.max(from, to)) };
  });
const measure: fc.Arbitrary<Measure> = fc.record({
  scope: fc.constantFrom(...LIMIT_SCOPES),
  unit: fc.constantFrom(...LIMIT_UNITS),
  window: fc.oneof(rate, period),
});

/** What is asked of quotas, and by which clock beside PostgreSQL's own. */
export const questions = fc.record({
  measures: fc.array(measure, { minLength: 1, maxLength: 12, size: 'max' }),
  aheadMs: fc.oneof(fc.integer({ min: -5 * MINUTE, max: 5 * MINUTE }), fc.integer({ min: -DAY, max: DAY })),
});
export type Questions = typeof questions extends fc.Arbitrary<infer Q> ? Q : never;

/** How far the clock is turned. It never goes back: what PostgreSQL has dated itself stays in order. */
export const turn = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 3 * MINUTE }) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 40 * MINUTE }) },
  { weight: 1, arbitrary: fc.constantFrom(DAY, 25 * HOUR, 31 * DAY) },
);
