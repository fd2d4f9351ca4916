import { describe, expect, it } from '@jest/globals';
import { modelsFileSchema, plansFileFor } from '@sluice/contracts';
import { ConfigError, parseConfig } from '@sluice/runtime';

const models = modelsFileSchema.parse({ pools: { text: {} }, models: { small: { pool: 'text', version: '1' } } });

/** What is said about a file whose plan `p` has these lines, the first of them on line 3. */
function problemsOf(...lines: readonly string[]): readonly string[] {
  const text = ['plans:', '  p:', ...lines.map((line) => `    ${line}`)].join('\n');
  try {
    parseConfig({ path: 'plans.yaml', text, schema: plansFileFor(models), environment: {} });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('a file of plans', () => {
  it('may limit tenant, API keys and models', () => {
    const lines = ["limits: { moneyPerMonth: '5' }", 'perApiKey: { concurrentJobs: 1 }', 'perModel: { small: {} }'];
    expect(problemsOf(...lines)).toEqual([]);
  });

  it.each([
    ['no limits at all', ['estimate: exact'], /^plans\.yaml:2: plans\.p\.limits: /],
    [
      'a model that does not exist',
      ['limits: {}', 'perModel:', '  large: {}'],
      /:5: plans\.p\.perModel\.large: no model "large"/,
    ],
    ['an unknown limit', ['limits:', '  tokensPerWeek: 1'], /:4: plans\.p\.limits: .*tokensPerWeek/],
    ['a limit of nothing', ['limits:', '  tokensPerMinute: 0'], /:4: plans\.p\.limits\.tokensPerMinute: /],
    ['half a token', ['limits:', '  tokensPerDay: 1.5'], /:4: plans\.p\.limits\.tokensPerDay/],
    [
      'a rate beyond what is exact',
      ['limits:', '  tokensPerMinute: 100000000001'],
      /:4: plans\.p\.limits\.tokensPerMinute/,
    ],
    ['money as a number', ['limits:', '  moneyPerMonth: 5'], /:4: plans\.p\.limits\.moneyPerMonth/],
    ['money beyond what is exact', ['limits:', "  moneyPerMonth: '9000001'"], /:4: plans\.p\.limits\.moneyPerMonth/],
    ['a tenth of a nano-dollar', ['limits:', "  moneyPerMonth: '0.0000000001'"], /:4: plans\.p\.limits\.moneyPerMonth/],
    [
      'a percentage twice',
      ['limits:', '  tokensPerDay: { max: 1, alertAtPercent: [80, 80] }'],
      /:4: plans\.p\.limits\.tokensPerDay/,
    ],
    ['a soft rate', ['limits:', '  tokensPerMinute: { max: 1, soft: true }'], /:4: plans\.p\.limits\.tokensPerMinute/],
    [
      'a quantile of one',
      ['limits: {}', 'estimate:', '  { quantile: 1, floorTokens: 1 }'],
      /:[45]: plans\.p\.estimate/,
    ],
  ])('is refused with file and line for %s', (_name, lines, expected) => {
    const problems = problemsOf(...lines);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });
});
