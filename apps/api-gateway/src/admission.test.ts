import { describe, expect, it } from '@jest/globals';
import { jobIdTimeMs, ServiceError, type ModelFile } from '@sluice/contracts';
import type { Reservation, ReserveOutcome } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { createMetrics } from '@sluice/telemetry';
import { createAdmission } from './admission.js';
import { createCatalogue } from './catalogue.js';
import { createFlights } from './flights.js';
import { createGatewayMetrics } from './gateway-metrics.js';
import { createJobClock } from './job-clock.js';
import { createJobMessages } from './job-message.js';
import { createJobPublisher } from './job-publisher.js';
import { createLearnedEstimates } from './learned-estimates.js';
import { createRepeatedRequests } from './repeated-requests.js';

const facts = { maxInputTokens: 100, maxOutputTokens: 0, description: 'a model' } as ModelFile;
const tokenizer = { encode: (text: string) => new Int32Array(text.length), count: (text: string) => text.length };
const model = { name: 'm', version: '1', pool: 'p', description: '', classes: ['standard'], facts, tokenizer };
const principal = {
  ...{ tenantId: 'acme', apiKeyId: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', plan: 'demo', timeZone: 'UTC' },
  ...{ overrides: {}, keyLimits: {} },
};
const earlier = {
  jobId: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
  apiKeyId: principal.apiKeyId,
  model: 'm',
  class: 'standard',
  inputTokens: 5,
  maxOutputTokens: 0,
  reservedTokens: 5,
  reservedNanoUsd: 0,
  expiresAtMs: 1_900_000_000_000,
};
const existing: ReserveOutcome = {
  outcome: 'exists',
  jobId: earlier.jobId,
  snapshot: { state: 'reserved', facts: JSON.stringify(earlier) },
  limits: [],
  nowMs: 0,
};
const reserved: ReserveOutcome = { outcome: 'reserved', limits: [], nowMs: 0 };
const stale: ReserveOutcome = { outcome: 'stale', clearsInMs: 3, nowMs: 0 };

/** An admission whose publishes fail with `code`, what it asked for and what it gave back; `before` are first answers. */
function failing(
  code: 'broker_unavailable' | 'publish_unconfirmed',
  outcome: ReserveOutcome,
  { ready = true, before = [] }: { ready?: boolean; before?: readonly ReserveOutcome[] } = {},
) {
  const released: string[] = [];
  const asked: Reservation[] = [];
  const clock = createJobClock();
  const tenantLimits = { of: () => [], estimateOf: () => 'exact' as const, hasBudget: () => false };
  const estimates = createLearnedEstimates();
  const prices = { ready: true, amountNanoUsd: () => 0 };
  const flights = createFlights();
  const quota = {
    reserve: (reservation: Reservation) => Promise.resolve(before[asked.push(reservation) - 1] ?? outcome),
    confirm: () => Promise.resolve(true),
    snapshot: () => Promise.resolve({ state: 'reserved' as const, facts: JSON.stringify(earlier) }),
  };
  const jobPublisher = createJobPublisher({
    connection: { state: 'connected', generation: 1 },
    publisher: { publish: () => Promise.reject(new ServiceError(code, 'no')) },
    member: { ready },
  });
  const store = { findJob: () => Promise.resolve(undefined), findJobByKey: () => Promise.resolve(undefined) };
  const logger = createLogger({ app: 'test', level: 'silent' });
  const idempotencyTtlMs = 1_000;
  const admit = createAdmission({
    catalogue: createCatalogue([model]),
    messages: createJobMessages({ clock, prices, estimates, tenantLimits, jobTtlMs: 1_000 }),
    tenantLimits,
    loader: { load: () => Promise.resolve() },
    estimates,
    clock,
    quota,
    jobPublisher,
    repeated: createRepeatedRequests({ quota, store, clock, idempotencyTtlMs, logger }),
    flights,
    abandoned: { add: ({ jobId }) => void released.push(jobId) },
    idempotencyTtlMs,
    metrics: createGatewayMetrics(createMetrics()),
  });
  const request = {
    principal,
    submission: { model: 'm', input: 'hello', class: 'standard' as const },
    idempotencyKey: 'k',
  };
  return { released, asked, outcome: admit(request).catch((error: ServiceError) => error.code) };
}

describe('a publish that fails', () => {
  it('for certain gives the hold back', async () => {
    const { released, outcome } = failing('broker_unavailable', reserved);
    expect(await outcome).toBe('broker_unavailable');
    expect(released).toHaveLength(1);
  });

  it('without a known outcome keeps the hold: the job may run', async () => {
    const { released, outcome } = failing('publish_unconfirmed', reserved);
    expect(await outcome).toBe('publish_unconfirmed');
    expect(released).toEqual([]);
  });

  it('for a repeated request keeps the hold: the first publish may have succeeded', async () => {
    const { released, outcome } = failing('broker_unavailable', existing);
    expect(await outcome).toBe('broker_unavailable');
    expect(released).toEqual([]);
  });
});

it('a repeated request whose job is held, but neither known to Redis nor recorded yet, is to be sent again', async () => {
  const { released, outcome } = failing('broker_unavailable', { ...existing, snapshot: undefined });
  expect(await outcome).toBe('quota_unavailable');
  expect(released).toEqual([]);
});

it('a gateway that no fence can ask yet reserves nothing', async () => {
  const { released, outcome } = failing('publish_unconfirmed', reserved, { ready: false });
  expect(await outcome).toBe('broker_unavailable');
  expect(released).toEqual([]);
});

describe("a job whose id is of another day than Redis' clock", () => {
  it('is reserved under a new id, which carries the time that quotas count it by', async () => {
    const { released, asked, outcome } = failing('broker_unavailable', reserved, { before: [stale, stale] });
    expect(await outcome).toBe('broker_unavailable');
    expect(new Set(asked.map(({ jobId }) => jobId)).size).toBe(3);
    expect(asked.map(({ acceptedAtMs }) => acceptedAtMs)).toEqual(asked.map(({ jobId }) => jobIdTimeMs(jobId)));
    expect(released).toEqual([asked[2]?.jobId]);
  });

  it('is refused for now when the clocks do not come together', async () => {
    const { released, outcome } = failing('broker_unavailable', stale);
    expect(await outcome).toBe('quota_unavailable');
    expect(released).toEqual([]);
  });
});
