import { describe, expect, it } from '@jest/globals';
import { MAX_TOKENS_PER_JOB, newJobId } from '@sluice/contracts';
import { type Fact, problemOf, RecordError } from './facts.js';

const base = {
  jobId: newJobId(),
  tenantId: 'acme',
  apiKeyId: '00000000-0000-4000-8000-000000000001',
  model: 'm',
  class: 'standard' as const,
};
const accepted = { ...base, inputTokens: 1, maxOutputTokens: 1, reservedTokens: 2, reservedNanoUsd: 3, expiresAtMs: 1 };
const completed = {
  ...base,
  state: 'succeeded' as const,
  usage: { inputTokens: 5, outputTokens: 0, cachedTokens: 5 },
  attempt: 1,
  finishedAtMs: 1,
};

function facts(changes: Readonly<Record<string, unknown>>): readonly Fact[] {
  return [
    { type: 'accepted', message: { ...accepted, ...changes } },
    { type: 'completed', message: { ...completed, ...changes } },
  ];
}

describe('problemOf', () => {
  it('finds nothing wrong at the edges of the ranges', () => {
    const [fact] = facts({ inputTokens: MAX_TOKENS_PER_JOB, maxOutputTokens: 0, expiresAtMs: 0 });
    expect(fact && problemOf(fact)).toBeUndefined();
    const [, ended] = facts({ attempt: 1000, startedAtMs: 0, finishedAtMs: 8_640_000_000_000_000 });
    expect(ended && problemOf(ended)).toBeUndefined();
  });

  it.each([
    [{ jobId: 'nonsense' }],
    [{ jobId: '00000000-0000-4000-8000-000000000001' }],
    [{ apiKeyId: '1' }],
    [{ inputTokens: -1, usage: { inputTokens: -1, outputTokens: 0, cachedTokens: 0 } }],
    [{ inputTokens: 1.5, usage: { inputTokens: 1.5, outputTokens: 0, cachedTokens: 0 } }],
    [{ reservedTokens: MAX_TOKENS_PER_JOB + 1, usage: { inputTokens: 1, outputTokens: 0, cachedTokens: 2 } }],
    [{ expiresAtMs: Number.NaN, finishedAtMs: Number.POSITIVE_INFINITY }],
    [{ maxOutputTokens: undefined, startedAtMs: -1 }],
    [{ reservedNanoUsd: 2 ** 53 }],
    [{ reservedNanoUsd: 0.5 }],
    [{ reservedTokens: -1 }],
  ])('refuses %j in facts of both types', (changes) => {
    for (const fact of facts(changes)) expect(problemOf(fact)).toEqual(expect.any(String));
  });
});

describe('problemOf an accepted fact', () => {
  it.each([[{ of: 'nonsense', epoch: 1 }], [{ of: newJobId(), epoch: 1001 }], [{ of: newJobId(), epoch: 0.5 }]])(
    'refuses the replay %j',
    (replay) => {
      const [fact] = facts({ replay });
      expect(fact && problemOf(fact)).toBe('replay is out of range');
    },
  );
});

describe('RecordError', () => {
  it('names what failed by job and keeps what was recorded', () => {
    const outcome = { newlyAccepted: new Set(['a']), newlyCompleted: new Map<string, bigint>() };
    const error = new RecordError([{ type: 'completed', jobId: 'b', cause: 'why' }], outcome);
    expect(error.failed).toEqual(new Map([['b', 'why']]));
    expect(error.outcome).toBe(outcome);
  });
});
