import { describe, expect, it } from '@jest/globals';
import { newJobId, totalTokens } from '@sluice/contracts';
import type { StoredHold, StoredLimit, TenantState } from '@sluice/quota';
import type { Measure, QuotaFacts, TerminalFact } from '@sluice/store';
import fc from 'fast-check';
import { driftOf, measuresOf, unknownHolds, type Observation, type TenantDrift } from './drift.js';

const KEY = '0190b5a0-0000-4000-8000-000000000001';
const GRACE_MS = 30_000;
const HELD = 100;
const NOW_MS = Date.now();
const PERIOD = { id: '2026-11', sinceMs: NOW_MS - 86_400_000, endsAtMs: NOW_MS + 86_400_000 };

/** What happens to a job, in this order: held, accepted in the books, ended in the books, settled in Redis. */
const STEPS = 4;
/** What an observation asks for, in this order. */
const QUESTIONS = ['before', 'endedBefore', 'facts', 'after', 'endedAfter'] as const;
type Question = (typeof QUESTIONS)[number];

interface Job {
  readonly jobId: string;
  readonly model: string;
  readonly tokens: number;
  done: number;
}

/** Redis and the books of one tenant, as plain as can be. */
function createWorld(jobs: readonly Job[], planted = { used: 0, held: 0 }) {
  const scopes = [
    { scope: 'tenant', subject: '', prefix: '' },
    { scope: 'model', subject: 'a', prefix: 'model:' },
  ] as const;
  const of = (subject: string, from: number, to = STEPS): readonly Job[] =>
    jobs.filter(({ model, done }) => done >= from && done <= to && (subject === '' || model === subject));
  const sum = (some: readonly Job[]): number => some.reduce((total, { tokens }) => total + tokens, 0);
  const useOf = (some: readonly Job[], unit: StoredLimit['unit']): number =>
    sum(some) * (unit === 'nanoUsd' ? 1_000 : 1);

  function inspect(): TenantState {
    const limits = scopes.flatMap(({ scope, subject, prefix }) =>
      (['tokens', 'nanoUsd'] as const).map((unit): StoredLimit => ({
        ...{ scope, subject, name: `${prefix}${unit}-per-month`, kind: 'quota', unit, period: PERIOD, overage: 0 },
        used: useOf(of(subject, 4), unit) + planted.used,
        held: of(subject, 1, 3).length * (unit === 'nanoUsd' ? 7 : HELD) + planted.held,
      })),
    );
    const holds = of('', 1, 3).map(({ jobId, model }): [string, StoredHold] => [
      jobId,
      { apiKeyId: KEY, model, amounts: { tokens: HELD, nanoUsd: 7 }, acceptedAtMs: NOW_MS },
    ]);
    return { limits, holds: new Map(holds) };
  }

  function facts(measures: readonly Measure[]): QuotaFacts {
    const amounts = measures.flatMap(({ scope, unit }, measure) =>
      (scope === 'tenant' ? [''] : ['a', 'b']).map((subject) => ({
        ...{ measure, subject, overage: 0 },
        used: useOf(of(subject, 3), unit),
      })),
    );
    const openHolds = of('', 2, 2).map(({ jobId, model }) => ({
      ...{ jobId, model, apiKeyId: KEY, reservedTokens: HELD, reservedNanoUsd: 7 },
      ...{ acceptedAtMs: NOW_MS, expiresAtMs: NOW_MS + 60_000 },
    }));
    return { amounts, openHolds };
  }

  function ended(state: TenantState): ReadonlyMap<string, TerminalFact> {
    const known = of('', 2).filter(({ jobId }) => state.holds.has(jobId));
    return new Map(known.map((job) => [job.jobId, job.done === 2 ? 'open' : endOf(job)]));
  }

  return { inspect, facts, ended };
}

function endOf({ tokens }: Job): TerminalFact {
  const usage = { inputTokens: tokens, outputTokens: 0, cachedTokens: 0 };
  return { state: 'succeeded', usage, amountNanoUsd: BigInt(totalTokens(usage)) * 1_000n };
}

/** Looks at the world, with steps of jobs before each question. */
function lookAt(
  world: ReturnType<typeof createWorld>,
  advance: (question: Question) => void = () => undefined,
): Observation {
  advance('before');
  const before = world.inspect();
  const measures = measuresOf(before, NOW_MS);
  advance('endedBefore');
  const endedBefore = world.ended(before);
  advance('facts');
  const facts = world.facts(measures);
  advance('after');
  const after = world.inspect();
  advance('endedAfter');
  const endedAfter = world.ended(after);
  return { before, beganAtMs: NOW_MS, endedBefore, measures, facts, after, endedAfter };
}

function observe(...asked: Parameters<typeof lookAt>): TenantDrift {
  return driftOf(lookAt(...asked), GRACE_MS);
}

const someJobs = fc.array(fc.record({ model: fc.constantFrom('a', 'b'), tokens: fc.nat(1_000), done: fc.nat(STEPS) }), {
  minLength: 1,
  maxLength: 12,
});
/** Which jobs move on before each question. */
const someMoves = fc.tuple(...QUESTIONS.map(() => fc.array(fc.nat(11), { maxLength: 20 })));

function withIds(jobs: readonly Omit<Job, 'jobId'>[]): Job[] {
  return jobs.map((job) => ({ ...job, jobId: newJobId() }));
}

describe('the comparison of Redis with the books', () => {
  it('finds nothing while they are right, whatever happens between the questions', () => {
    fc.assert(
      fc.property(someJobs, someMoves, (specs, moves) => {
        const jobs = withIds(specs);
        const drift = observe(createWorld(jobs), (question) => {
          for (const index of moves[QUESTIONS.indexOf(question)] ?? []) {
            const job = jobs[index];
            if (job && job.done < STEPS) job.done += 1;
          }
        });
        expect([drift.limits, drift.missing]).toEqual([[], []]);
      }),
    );
  });

  it('finds exactly what is wrong while nothing moves', () => {
    const distance = fc.integer({ min: -5_000, max: 5_000 }).filter((value) => value !== 0);
    fc.assert(
      fc.property(someJobs, distance, fc.boolean(), (specs, wrong, inUse) => {
        const jobs = withIds(specs);
        const { limits } = observe(createWorld(jobs, { used: inUse ? wrong : 0, held: inUse ? 0 : wrong }));
        expect(limits.map(({ limit }) => limit)).toEqual([
          'tokens-per-month',
          'nanoUsd-per-month',
          'model:tokens-per-month',
          'model:nanoUsd-per-month',
        ]);
        expect(limits.every((drift) => drift.distance === wrong)).toBe(true);
      }),
    );
  });

  it('finds what is wrong in spite of what moves, when it is more than moves', () => {
    fc.assert(
      fc.property(someJobs, someMoves, fc.constantFrom(-100_000, 100_000), (specs, moves, used) => {
        const jobs = withIds(specs);
        const world = createWorld(jobs, { used: used * 1_000, held: 0 });
        const { limits } = observe(world, (question) => {
          for (const index of moves[QUESTIONS.indexOf(question)] ?? []) {
            const job = jobs[index];
            if (job && job.done < STEPS) job.done += 1;
          }
        });
        expect(limits.map(({ distance }) => Math.sign(distance))).toEqual(Array(4).fill(Math.sign(used)));
      }),
    );
  });

  it('finds an open job that is not held, unless it is too young to say', () => {
    const [job = fail()] = withIds([{ model: 'a', tokens: 1, done: 2 }]);
    const world = createWorld([job]);
    const empty: TenantState = { limits: [], holds: new Map() };
    const look = (beganAtMs: number): TenantDrift =>
      driftOf(
        {
          ...{ before: empty, after: empty, beganAtMs, measures: [], facts: world.facts([]) },
          ...{ endedBefore: new Map(), endedAfter: new Map() },
        },
        GRACE_MS,
      );
    expect(look(NOW_MS + GRACE_MS).missing).toEqual([]);
    expect(look(NOW_MS + GRACE_MS + 1).missing).toEqual([job.jobId]);
  });

  it('finds a job that had ended before and is still held after', () => {
    const jobs = withIds([1, 2, 3].map((done) => ({ model: 'a', tokens: 1, done })));
    expect(observe(createWorld(jobs)).leaked).toEqual([jobs[2]?.jobId]);
  });

  it('finds a job that is held all the time and not in the books, unless it is too young to say', () => {
    fc.assert(
      fc.property(someJobs, someMoves, (specs, moves) => {
        const jobs = withIds(specs);
        const stuck = new Set(jobs.filter((_, index) => index % 3 === 0));
        for (const job of stuck) job.done = 1;
        const known = new Set(jobs.filter(({ done }) => done >= 2).map(({ jobId }) => jobId));
        const observation = lookAt(createWorld(jobs), (question) => {
          for (const index of moves[QUESTIONS.indexOf(question)] ?? []) {
            const job = jobs[index];
            if (job && !stuck.has(job) && job.done < STEPS) job.done += 1;
          }
        });
        // Everything is held since NOW_MS.
        const later = { ...observation, beganAtMs: NOW_MS + GRACE_MS + 1 };
        const unknown = unknownHolds(later, GRACE_MS);
        expect(unknown).toEqual(expect.arrayContaining([...stuck].map(({ jobId }) => jobId)));
        expect(unknown.filter((jobId) => known.has(jobId))).toEqual([]);
        expect(unknownHolds(observation, GRACE_MS)).toEqual([]);
      }),
    );
  });

  it('leaves out a period that is over, and rates', () => {
    const [month = fail()] = createWorld([]).inspect().limits;
    const rate: StoredLimit = { ...month, kind: 'rate', period: undefined as never };
    expect(measuresOf({ limits: [month, rate], holds: new Map() }, PERIOD.endsAtMs)).toEqual([]);
    expect(measuresOf({ limits: [month, month], holds: new Map() }, NOW_MS)).toHaveLength(1);
  });

  it('says nothing of a limit whose period turned or that was loaded in between', () => {
    const jobs = withIds([{ model: 'a', tokens: 10, done: 4 }]);
    const before = createWorld(jobs, { used: 5, held: 0 }).inspect();
    const measures = measuresOf(before, NOW_MS);
    const facts = createWorld(jobs).facts(measures);
    const rest = { before, beganAtMs: NOW_MS, measures, facts, endedBefore: new Map(), endedAfter: new Map() };
    const loaded = createWorld(jobs).inspect();
    const turned = {
      ...before,
      limits: before.limits.map((limit) => ({ ...limit, period: { ...PERIOD, id: '2026-12' } })),
    };
    expect(driftOf({ ...rest, after: loaded }, GRACE_MS).limits).toEqual([]);
    expect(driftOf({ ...rest, after: turned }, GRACE_MS).limits).toEqual([]);
    expect(driftOf({ ...rest, after: before }, GRACE_MS).limits).toHaveLength(4);
  });
});

function fail(): never {
  throw new Error('the test is wrong');
}
