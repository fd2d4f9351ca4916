import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { newJobId } from '@sluice/contracts';
import { characterModel } from '../../test/fixtures.js';
import { createModelRouter, type RoutedJob } from './model-router.js';
import type { ModelRoutes } from './served-models.js';

const [one, two, three] = ['1', '2', '3'].map((version) => ({ ...characterModel(), key: `characters/${version}` }));
if (!one || !two || !three) throw new Error('three versions are made');

const jobOf = (overrides: Partial<RoutedJob> = {}): RoutedJob => ({
  ...{ model: 'characters', jobId: newJobId(), tenantId: 'acme', apiKeyId: randomUUID() },
  ...overrides,
});
const routerOf = (routes: ModelRoutes, name = 'characters') => createModelRouter(new Map([[name, routes]]));
const canaryOf = (percent: number, stickyBy: 'tenant' | 'apiKey' | 'job' = 'tenant') =>
  routerOf({ main: one, canary: { served: two, percent, stickyBy } });

describe('the model router', () => {
  it('knows nothing of other models', () => {
    expect(routerOf({ main: one }).route(jobOf({ model: 'others' }))).toBeUndefined();
  });

  it('sends everything to the only version', () => {
    expect(routerOf({ main: one }).route(jobOf())).toBe(one);
  });

  it.each(['tenant', 'apiKey', 'job'] as const)('gives a canary its share of keys, by %s', (stickyBy) => {
    const router = canaryOf(30, stickyBy);
    const jobs = Array.from({ length: 20_000 }, (_, at) => jobOf({ tenantId: `tenant-${at}` }));
    const share = jobs.filter((job) => router.route(job) === two).length / jobs.length;
    // Six standard deviations of a share of 20,000.
    expect(Math.abs(share - 0.3)).toBeLessThan(0.02);
  });

  it('gives a canary nothing at 0 and everything at 100 percent', () => {
    const jobs = Array.from({ length: 1_000 }, () => jobOf());
    for (const [percent, served] of [
      [0, one],
      [100, two],
    ] as const) {
      expect(jobs.every((job) => canaryOf(percent, 'job').route(job) === served)).toBe(true);
    }
  });

  it('sends the same key the same way, whatever else differs', () => {
    const same = { tenant: 'tenantId', apiKey: 'apiKeyId', job: 'jobId' } as const;
    const stickyBy = fc.constantFrom('tenant', 'apiKey', 'job');
    fc.assert(
      fc.property(fc.uuid(), fc.double({ min: 0, max: 100, noNaN: true }), stickyBy, (key, percent, by) => {
        const router = canaryOf(percent, by);
        const [first, second] = [jobOf({ [same[by]]: key }), jobOf({ tenantId: 'other', [same[by]]: key })];
        expect(router.route(first)).toEqual(router.route(second));
      }),
    );
  });

  it('only adds keys to the canary when its percentage is raised', () => {
    const percent = fc.double({ min: 0, max: 100, noNaN: true });
    fc.assert(
      fc.property(fc.string(), percent, percent, (tenantId, a, b) => {
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        const job = jobOf({ tenantId });
        if (canaryOf(less).route(job) === two) expect(canaryOf(more).route(job)).toBe(two);
      }),
    );
  });

  it('decides for each model by itself', () => {
    const routes: ModelRoutes = { main: one, canary: { served: two, percent: 50, stickyBy: 'tenant' } };
    const models = new Map([
      ['a', routes],
      ['b', routes],
    ]);
    const router = createModelRouter(models);
    const tenants = Array.from({ length: 1_000 }, (_, at) => `tenant-${at}`);
    const agree = tenants.filter((tenantId) => {
      const [a, b] = ['a', 'b'].map((model) => router.route(jobOf({ model, tenantId })));
      return a === b;
    });
    expect(agree.length).toBeGreaterThan(400);
    expect(agree.length).toBeLessThan(600);
  });

  it('has a part of the jobs compared that the main version answered, always of the same keys', () => {
    const shadow = { served: three, percent: 40, stickyBy: 'tenant', tolerance: 0.1 } as const;
    const router = routerOf({ main: one, canary: { served: two, percent: 50, stickyBy: 'tenant' }, shadow });
    const tenants = Array.from({ length: 20_000 }, (_, at) => `tenant-${at}`);
    const compared = (tenantId: string) => {
      const job = jobOf({ tenantId });
      const served = router.route(job);
      return served === one ? router.shadowOf(job, one) === shadow : 'canary';
    };
    const ofMain = tenants.filter((tenantId) => compared(tenantId) !== 'canary');
    const share = ofMain.filter((tenantId) => compared(tenantId)).length / ofMain.length;
    // Six standard deviations of a share of 10,000; with the canary's places it would be none.
    expect(Math.abs(share - 0.4)).toBeLessThan(0.03);
    const [job] = [jobOf()];
    expect(routerOf({ main: one, shadow: { ...shadow, percent: 100 } }).shadowOf(job, one)).toBeDefined();
    expect(routerOf({ main: one, shadow: { ...shadow, percent: 100 } }).shadowOf(job, two)).toBeUndefined();
    expect(routerOf({ main: one, shadow: { ...shadow, percent: 0 } }).shadowOf(job, one)).toBeUndefined();
    expect(routerOf({ main: one }).shadowOf(job, one)).toBeUndefined();
  });

  it('goes by other routes once it is told', () => {
    const router = routerOf({ main: one });
    router.switchTo(new Map([['characters', { main: three }]]));
    expect(router.route(jobOf())).toBe(three);
    router.switchTo(new Map());
    expect(router.route(jobOf())).toBeUndefined();
  });
});
