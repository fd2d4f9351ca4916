import { describe, expect, it } from '@jest/globals';
import {
  LIMIT_KEYS,
  LIMIT_SCOPES,
  limitName,
  LIMITS,
  type LimitScope,
  type LimitSet,
  limitsWith,
  modelLimits,
  overridesSchema,
  planSchema,
  planWith,
  rulesOf,
} from '@sluice/contracts';
import fc from 'fast-check';
import { useBooks } from './support.js';

const books = useBooks();
const MODELS = ['*', 'embedder', 'classifier', 'other'];

const count = fc.integer({ min: 1, max: 1_000_000 });
const dollars = fc
  .tuple(fc.integer({ min: 1, max: 8_999_999 }), fc.option(fc.stringMatching(/^\d{1,9}$/), { nil: undefined }))
  .map(([whole, fraction]) => (fraction === undefined ? `${whole}` : `${whole}.${fraction}`));
const options = {
  alertAtPercent: fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), { maxLength: 4 }),
  soft: fc.boolean(),
};
const quota = fc.oneof(count, fc.record({ max: count, ...options }, { requiredKeys: ['max'] }));
const budget = fc.oneof(dollars, fc.record({ usd: dollars, ...options }, { requiredKeys: ['usd'] }));

/** A set of limits, or changes to one, as an operator writes it. */
function limitsWritten(wrap: <T>(value: fc.Arbitrary<T>) => fc.Arbitrary<T | null>) {
  const values = { tokensPerDay: quota, tokensPerMonth: quota, moneyPerMonth: budget };
  const entries = LIMIT_KEYS.map((key) => [
    key,
    wrap<unknown>(Object.hasOwn(values, key) ? values[key as never] : count),
  ]);
  return fc.record(Object.fromEntries(entries) as Record<string, fc.Arbitrary<unknown>>, { requiredKeys: [] });
}

const set = limitsWritten((value) => value);
const changes = limitsWritten((value) => fc.option(value));
const perModel = <T>(value: fc.Arbitrary<T>) => fc.dictionary(fc.constantFrom(...MODELS), value, { maxKeys: 3 });
const planWritten = fc.record({ limits: set, perApiKey: set, perModel: perModel(set) });
const overridesWritten = fc.record(
  { limits: changes, perApiKey: changes, perModel: perModel(changes) },
  { requiredKeys: [] },
);

/** What the database is to say of a set. */
function rows(scope: LimitScope, limits: LimitSet) {
  return rulesOf(limits).map(({ key, max, soft, alertAtPercent }) => {
    const facts: { kind: string; unit: string; period?: string } = LIMITS[key];
    return {
      name: limitName(scope, key),
      kind: facts.kind,
      unit: facts.unit,
      period: facts.period ?? null,
      max,
      soft,
      alert_at_percent: [...alertAtPercent],
    };
  });
}

async function readRows(scope: LimitScope, expression: string, values: readonly unknown[]) {
  const found = await books.query<{ max: string }>(
    `SELECT r.* FROM limit_rules('${scope}', ${expression}) AS r`,
    values,
  );
  return found.map((row) => ({ ...row, max: Number(row.max) }));
}

describe('limits in the database', () => {
  it('are those of the contracts, for any plan, overrides and changes of a key', async () => {
    await fc.assert(
      fc.asyncProperty(planWritten, overridesWritten, changes, async (writtenPlan, writtenOverrides, writtenKey) => {
        // As they are stored: plans parsed, the others as they were written.
        const plan = planSchema.parse(writtenPlan);
        const own = overridesSchema.shape.limits.unwrap().parse(writtenKey);
        const effective = planWith(plan, overridesSchema.parse(writtenOverrides));
        const values = [JSON.stringify(plan), JSON.stringify(writtenOverrides), JSON.stringify(writtenKey)];
        const part = (name: string) => `limits_with($1::jsonb -> '${name}', $2::jsonb -> '${name}')`;

        expect(await readRows('tenant', part('limits'), values.slice(0, 2))).toEqual(rows('tenant', effective.limits));
        expect(await readRows('apiKey', `limits_with(${part('perApiKey')}, $3::jsonb)`, values)).toEqual(
          rows('apiKey', limitsWith(effective.perApiKey, own)),
        );
        for (const model of [...MODELS, 'unheard-of']) {
          const read = await readRows('model', `model_limits($1::jsonb, $2::jsonb, '${model}')`, values.slice(0, 2));
          expect(read).toEqual(rows('model', modelLimits(effective, model)));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('have every scope and key, and skip what is no limit', async () => {
    const all = Object.fromEntries(LIMIT_KEYS.map((key) => [key, key === 'moneyPerMonth' ? '1.5' : 3]));
    for (const scope of LIMIT_SCOPES) {
      const names = (await readRows(scope, '$1', [JSON.stringify(all)])).map(
        (row) => (row as unknown as { name: string }).name,
      );
      expect(names).toEqual(LIMIT_KEYS.map((key) => limitName(scope, key)));
    }
    const broken = { tokensPerDay: 'many', moneyPerMonth: { usd: '-1' }, concurrentJobs: null, unheardOf: 5 };
    expect(await readRows('tenant', '$1', [JSON.stringify(broken)])).toEqual([]);
    expect(await readRows('tenant', '$1', [null])).toEqual([]);
  });
});
