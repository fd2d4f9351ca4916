import { expect, it } from '@jest/globals';
import { toQuantity } from './keda.js';
import { RECOMMENDED, RECOMMENDED_POLICY, createPolicy } from './policies.js';
import { SHAPES } from './scenarios.js';
import { speedOf } from './studies.js';

it.each(['interactive', 'standard', 'batch'])('a single %s job wakes a pool, however fast its workers are', (name) => {
  const { triggers } = createPolicy(RECOMMENDED_POLICY, RECOMMENDED, speedOf({ capacityTokensPerSecond: 1e6 }, SHAPES));
  const jobsByClass = Object.keys(SHAPES).map((other) => (other === name ? 1 : 0));
  const seen = { jobs: 1, tokens: 1, jobsByClass, tokensByClass: [0, 0, 0], tokensPerSecond: 0 };
  const [trigger] = triggers;
  expect(trigger?.kind).toBe('external');
  if (trigger?.kind === 'external') expect(toQuantity(trigger.value(seen))).toBeGreaterThan(trigger.activation);
});
