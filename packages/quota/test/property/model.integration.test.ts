import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { anything, anythingAndRestarts } from './arbitraries.js';
import { openClockedRedis, type ClockedRedis } from './clocked-redis.js';
import { runs } from './settings.js';
import { openWorld } from './world.js';

/*
 * Random interleavings of everything that can be done, on the scripts in a real Redis and on the model: both answer alike
 * and keep the same. What always holds is checked on what Redis keeps, apart from the model.
 */
let redis: ClockedRedis;
beforeAll(async () => {
  redis = await openClockedRedis();
});
afterAll(() => redis.close());

/** A test that never met them proves nothing about them. */
const OUTCOMES = [
  ...['reserved', 'refused', 'exists', 'conflict', 'key_unknown', 'stale', 'not_loaded', 'freed', 'learned'],
  ...['settled', 'missing', 'early', 'released', 'swept', 'queued', 'running', 'succeeded', 'failed'],
  ...['loaded', 'superseded', 'begin: loaded', 'begin: busy'],
  'quota_unavailable: periods of the caller are over',
  'quota_unavailable: turned while it was loaded',
];

describe('the scripts', () => {
  it('do what the model does, and what always holds does, whatever comes in whatever order', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(anything, async (list) => {
        const world = await openWorld(redis, seen);
        await fc.asyncModelRun(() => ({ model: world, real: undefined }), list);
      }),
      runs(100),
    );
    expect(OUTCOMES.filter((outcome) => !seen.has(outcome))).toEqual([]);
  }, 120_000);

  it('do so when Redis is restarted on old data', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(anythingAndRestarts, async (list) => {
        const world = await openWorld(redis, seen);
        for (const command of list) await command.run(world, undefined);
      }),
      runs(8),
    );
    expect([...seen]).toContain('restarted');
  }, 120_000);
});
