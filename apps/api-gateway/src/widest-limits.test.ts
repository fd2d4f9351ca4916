import { describe, expect, it } from '@jest/globals';
import { limitsWith, planSchema, type LimitChanges } from '@sluice/contracts';
import fc from 'fast-check';
import { changesOfEither, planOfEither } from './widest-limits.js';

describe('the limits of a plan before and after a change', () => {
  it('are those of either, for each model too, as the later plan says', () => {
    const before = planSchema.parse({
      limits: { tokensPerDay: 1, tokensPerMinute: 2 },
      perModel: { '*': { tokensPerDay: 3 } },
    });
    const after = planSchema.parse({
      ...{ limits: { tokensPerDay: 4 }, perApiKey: { concurrentJobs: 5 } },
      perModel: { large: { tokensPerMonth: 6 } },
    });
    expect(planOfEither(before, after)).toMatchObject({
      limits: { tokensPerDay: 4, tokensPerMinute: 2 },
      perApiKey: { concurrentJobs: 5 },
      perModel: { '*': { tokensPerDay: 3 }, large: { tokensPerDay: 3, tokensPerMonth: 6 } },
    });
  });
});

describe('the limits of an API key before and after a change', () => {
  it('are those of either, as the later change says', () => {
    expect(changesOfEither({ tokensPerDay: 1, tokensPerMonth: 2 }, { tokensPerDay: 3 })).toEqual({
      ...{ tokensPerDay: 3, tokensPerMonth: 2 },
    });
    expect(changesOfEither({ tokensPerDay: 1 }, { tokensPerDay: null })).toEqual({ tokensPerDay: 1 });
    expect(changesOfEither({ tokensPerDay: null }, {})).toEqual({});
    expect(changesOfEither({ tokensPerDay: null }, { tokensPerDay: null })).toEqual({ tokensPerDay: null });
  });

  it('lack none that the key has before or after, whatever the plan gives and the changes do', () => {
    const rule = fc.option(fc.integer({ min: 1, max: 9 }), { nil: null });
    const changes: fc.Arbitrary<LimitChanges> = fc.record(
      { tokensPerDay: rule, tokensPerMonth: rule, concurrentJobs: rule },
      { requiredKeys: [] },
    );
    const perApiKey = fc.record(
      { tokensPerDay: fc.constant(5), tokensPerMinute: fc.constant(5), concurrentJobs: fc.constant(5) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(perApiKey, changes, changes, (own, first, second) => {
        const names = (some: LimitChanges) => Object.keys(limitsWith(own, some));
        const widest = new Set(names(changesOfEither(first, second)));
        expect(widest).toEqual(new Set([...names(first), ...names(second)]));
      }),
    );
  });
});
