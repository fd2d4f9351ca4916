import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { RECOMMENDED, RECOMMENDED_POLICY, createPolicy } from './policies.js';
import { createRandom } from './random.js';
import { SHAPES } from './scenarios.js';
import { CURVE_PATH, readService } from './scaling.js';
import { createService, MEASURED_PARENT } from './service.js';
import { simulate, type SimulationOptions } from './simulation.js';
import { speedOf } from './studies.js';
import type { Workload } from './workload.js';

const single = { ...SHAPES.interactive, share: 1 };
const onlySentences: Workload['shapes'] = {
  interactive: single,
  standard: { ...SHAPES.standard, share: 0 },
  batch: { ...SHAPES.batch, share: 0 },
};

const fixed = { policy: undefined, startTime: { least: 10, most: 10 }, sampleSeconds: 5, seed: 7 } as const;

/** Mean wait of M/M/c in units of the mean service time, by Erlang's formula for delays. */
function erlangWait(servers: number, load: number): number {
  let term = 1;
  let sum = 1;
  for (let n = 1; n < servers; n++) sum += term *= load / n;
  const last = (term * load) / servers / (1 - load / servers);
  return last / (sum + last) / (servers - load);
}

describe('a fleet of a fixed size', () => {
  it.each([
    [1, 0.5],
    [2, 0.8],
    [4, 0.8],
    [10, 0.85],
  ])('of %d servers at a load of %d each waits as Erlang says', (servers, share) => {
    const random = createRandom(11);
    const outcome = simulate({
      ...fixed,
      workload: { durationSeconds: 15_000, rateAt: () => servers * share, shapes: onlySentences },
      // One job at a time, and exponential times of a mean of a second.
      service: { processes: 1, batchTokens: 0, seconds: () => random.exponential() },
      replicas: servers,
    });
    const expected = erlangWait(servers, servers * share);
    expect(outcome.waits.interactive.mean).toBeGreaterThan(0.85 * expected);
    expect(outcome.waits.interactive.mean).toBeLessThan(1.15 * expected);
    expect(outcome.utilization).toBeCloseTo(share, 1);
  });

  it('runs as many sentences a second as the worker was measured to', async () => {
    // On the two cores of the measurement there were the broker and the benchmark as well: 320 and 65 µs a text.
    const shared = { ...MEASURED_PARENT, parentMs: MEASURED_PARENT.parentMs + 0.385 };
    const service = createService({ ...shared, calibration: await readFile(CURVE_PATH, 'utf8') });
    const outcome = simulate({
      ...fixed,
      workload: { durationSeconds: 20, rateAt: () => 2_000, shapes: onlySentences },
      service,
      replicas: 1,
    });
    const tokensPerSecond = ((outcome.jobs - outcome.unfinished) * outcome.tokens) / outcome.jobs / 20;
    // 0.67 of 42,767 tokens/s offline, benchmarks/README.md.
    expect(tokensPerSecond / (0.67 * 42_767)).toBeGreaterThan(0.85);
    expect(tokensPerSecond / (0.67 * 42_767)).toBeLessThan(1.15);
  });
});

describe('a fleet that is scaled', () => {
  async function options(overrides: Partial<SimulationOptions> = {}): Promise<SimulationOptions> {
    const service = await readService(CURVE_PATH);
    return {
      workload: { durationSeconds: 1_200, rateAt: (at) => (at >= 300 && at < 420 ? 400 : 20), shapes: SHAPES },
      service,
      policy: createPolicy(RECOMMENDED_POLICY, RECOMMENDED, speedOf(service, SHAPES)),
      seed: 7,
      replicas: 1,
      startTime: { least: 15, most: 30 },
      sampleSeconds: 5,
      ...overrides,
    };
  }

  it('comes to the same from the same seed, and to something else from another', async () => {
    const first = simulate(await options());
    expect(simulate(await options())).toEqual(first);
    expect(simulate(await options({ seed: 8 }))).not.toEqual(first);
  });

  it('grows for a burst, shrinks after it, and loses no job', async () => {
    const { jobs, waits, unfinished, mostReplicas, slices } = simulate(await options());
    const counted = Object.values(waits).reduce((sum, one) => sum + one.jobs, 0);
    expect(counted).toBe(jobs);
    expect(unfinished).toBeLessThan(20);
    expect(mostReplicas).toBeGreaterThan(2);
    expect(slices.at(-1)?.wanted).toBe(1);
  });

  it('begins at nothing and ends at nothing', async () => {
    const { policy, ...rest } = await options();
    const { slices, waits } = simulate({
      ...rest,
      policy: policy && { ...policy, object: { ...policy.object, minReplicaCount: 0 } },
      workload: { durationSeconds: 1_200, rateAt: (at) => (at >= 100 && at < 200 ? 10 : 0), shapes: SHAPES },
      replicas: 0,
    });
    expect(slices[10]?.wanted).toBe(0);
    expect(slices[40]?.ready).toBe(1);
    expect(slices.at(-1)?.wanted).toBe(0);
    // Nobody waits for longer than a poll, a sample and the start of a pod.
    expect(waits.interactive.p99).toBeLessThan(40);
  });

  it('does not go to zero because the metrics cannot be read', async () => {
    const { policy, ...rest } = await options();
    const { slices } = simulate({
      ...rest,
      policy: policy && { ...policy, object: { ...policy.object, minReplicaCount: 0 } },
      outage: { from: 400, until: 1_200 },
    });
    expect(Math.min(...slices.slice(80).map(({ wanted }) => wanted))).toBeGreaterThanOrEqual(2);
  });
});
