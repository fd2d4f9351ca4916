import { describe, expect, it } from '@jest/globals';
import { createLearnedEstimates } from './learned-estimates.js';

const estimate = { quantile: 0.95, floorTokens: 16 };
const wanted = { tenantId: 'acme', model: 'm', estimate, maxOutputTokens: 100 };

describe('a learned estimate', () => {
  it('is the maximum until enough jobs have taught it', () => {
    const estimates = createLearnedEstimates();
    expect(estimates.outputTokens(wanted)).toBe(100);
    estimates.observe('acme', 'm', { outputTokens: 30, samples: 19 });
    expect(estimates.outputTokens(wanted)).toBe(100);
    estimates.observe('acme', 'm', { outputTokens: 30.2, samples: 20 });
    expect(estimates.outputTokens(wanted)).toBe(31);
  });

  it('is never below the floor nor above the maximum of the job', () => {
    const estimates = createLearnedEstimates();
    estimates.observe('acme', 'm', { outputTokens: 3, samples: 50 });
    expect(estimates.outputTokens(wanted)).toBe(16);
    expect(estimates.outputTokens({ ...wanted, maxOutputTokens: 10 })).toBe(10);
    expect(estimates.outputTokens({ ...wanted, maxOutputTokens: 0 })).toBe(0);
  });

  it('belongs to one tenant and model, and to plans that want it', () => {
    const estimates = createLearnedEstimates();
    estimates.observe('acme', 'm', { outputTokens: 30, samples: 50 });
    expect(estimates.outputTokens({ ...wanted, estimate: 'exact' })).toBe(100);
    expect(estimates.outputTokens({ ...wanted, model: 'other' })).toBe(100);
    expect(estimates.outputTokens({ ...wanted, tenantId: 'other' })).toBe(100);
  });
});
