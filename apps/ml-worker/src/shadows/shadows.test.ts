import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createLogger, createMetrics } from '@sluice/runtime';
import { characterModel } from '../../test/fixtures.js';
import type { InferenceHost } from '../inference/inference-host.js';
import type { KeyedModel, RunResult } from '../inference/inference-protocol.js';
import type { ModelRoutes, ServedTextModel, Shadow } from '../models/served-models.js';
import { createShadowTally } from './shadow-tally.js';
import { createShadows, MOST_BYTES, MOST_JOBS, type ShadowedJob } from './shadows.js';

const versionOf = (version: string): ServedTextModel => {
  const served = characterModel();
  return { ...served, key: `characters/${version}`, model: { ...served.model, version } };
};
const shadowOf = (version: string): Shadow => ({
  ...{ served: versionOf(version), percent: 100, stickyBy: 'job', tolerance: 0.5 },
});
const routesOf = (...shadows: readonly Shadow[]) =>
  new Map<string, ModelRoutes>(shadows.map((shadow, at) => [`model-${at}`, { main: versionOf('1'), shadow }]));

/** Shadows on hosts that add up the tokens of a text, and are told here how to fare. */
function createFixture() {
  const hosts: FakeHost[] = [];
  const quiet = { is: true };
  const broken = { is: false };
  const metrics = createMetrics();
  const logger = createLogger({ app: 'test', level: 'silent' });
  const tally = createShadowTally({ metrics, logger, now: () => performance.now() });
  const shadows = createShadows({
    ...{ tally, logger },
    isQuiet: () => quiet.is,
    createHost([keyed]) {
      const host = fakeHost(keyed as KeyedModel, broken);
      hosts.push(host);
      return host as unknown as InferenceHost;
    },
  });
  const countsOf = (shadow = '2') => {
    const { agreed, disagreed, failed, dropped } = tally.of({ model: 'characters', version: '1', shadow });
    return { agreed, disagreed, failed, dropped };
  };
  return { shadows, hosts, quiet, broken, countsOf, tally, metrics };
}

type FakeHost = ReturnType<typeof fakeHost>;

function fakeHost({ key }: KeyedModel, broken: { readonly is: boolean }) {
  let onIdle = (): void => undefined;
  const host = {
    key,
    idle: 0,
    ran: [] as number[][],
    stopped: 0,
    outcome: async (sum: number): Promise<number> => sum,
    onIdle: (listener: () => void) => void (onIdle = listener),
    async start() {
      if (broken.is) throw new Error('it is no model');
      host.idle = 1;
    },
    stop: async () => void (host.stopped += 1),
    async run(_key: string, sequences: readonly Int32Array[]): Promise<RunResult> {
      host.idle = 0;
      host.ran.push(...sequences.map((sequence) => [...sequence]));
      try {
        const sums = sequences.map((sequence) => host.outcome(sequence.reduce((a, b) => a + b, 0)));
        return { rows: Float32Array.from(await Promise.all(sums)), computeMs: 1, cpuMs: 1 };
      } finally {
        host.idle = 1;
        onIdle();
      }
    },
  };
  return host;
}

/** A job that was answered with the sums of its texts. */
function jobOf(texts: readonly (readonly number[])[], shadow = shadowOf('2')): ShadowedJob {
  const sequences = texts.map((tokens) => Int32Array.from(tokens));
  const rows = Float32Array.from(texts, (tokens) => tokens.reduce((a, b) => a + b, 0));
  return { jobId: 'a job', model: 'characters', served: versionOf('1'), shadow, sequences, rows };
}

describe('shadows', () => {
  beforeEach(() => void jest.useFakeTimers({ doNotFake: ['performance'] }));
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });
  const settle = () => jest.advanceTimersByTimeAsync(100);

  it('compare each text of a job, one at a time, and count what came of it', async () => {
    const { shadows, hosts, countsOf, tally, metrics } = createFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    const [host] = hosts as [FakeHost];
    host.outcome = async (sum) => (sum === 5 ? sum + 2 : sum);
    shadows.offer(jobOf([[1, 2], [5]]));
    await settle();
    expect(host.ran).toEqual([[1, 2], [5]]);
    expect(countsOf()).toEqual({ agreed: 1, disagreed: 1, failed: 0, dropped: 0 });
    expect(tally.of({ model: 'characters', version: '1', shadow: '2' })).toMatchObject({
      ...{ cosine: { least: 1, mean: 1 }, greatestDifference: 2 },
    });
    const labels = 'model="characters",outcome="disagreed",shadow="2",version="1"';
    expect(metrics.render()).toContain(`sluice_worker_shadow_texts_total{${labels}} 1\n`);
    await shadows.stop();
  });

  it('wait while the worker has other work, also between the texts of a job', async () => {
    const { shadows, hosts, quiet, countsOf } = createFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    const [host] = hosts as [FakeHost];
    quiet.is = false;
    shadows.offer(jobOf([[1], [2], [3]]));
    await settle();
    expect([host.ran, shadows.waiting]).toEqual([[], 1]);
    host.outcome = async (sum) => {
      quiet.is = sum !== 2;
      return sum;
    };
    quiet.is = true;
    await settle();
    expect([host.ran, shadows.waiting]).toEqual([[[1], [2]], 1]);
    quiet.is = true;
    await settle();
    expect(countsOf()).toEqual({ agreed: 3, disagreed: 0, failed: 0, dropped: 0 });
    await shadows.stop();
  });

  it('keep copies, and no more than their bounds', async () => {
    const { shadows, hosts, quiet, countsOf } = createFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    quiet.is = false;
    const job = jobOf([[1]]);
    for (let at = 0; at < MOST_JOBS + 3; at += 1) shadows.offer(job);
    job.sequences[0]?.fill(9);
    job.rows.fill(9);
    expect([shadows.waiting, countsOf().dropped]).toEqual([MOST_JOBS, 3]);
    quiet.is = true;
    await settle();
    expect(new Set(hosts[0]?.ran.flat())).toEqual(new Set([1]));
    expect(countsOf()).toEqual({ agreed: MOST_JOBS, disagreed: 0, failed: 0, dropped: 3 });
    quiet.is = false;
    const large = jobOf([new Array<number>(MOST_BYTES / 8).fill(0)]);
    for (let at = 0; at < 3; at += 1) shadows.offer(large);
    expect([shadows.waiting, countsOf().dropped]).toEqual([1, 5]);
    await shadows.stop();
  });

  it('count a text that cannot be run, and go on with the next', async () => {
    const { shadows, hosts, countsOf } = createFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    const [host] = hosts as [FakeHost];
    host.outcome = async (sum) => {
      if (sum === 1) throw new ServiceError('inference_crashed', 'It is gone.');
      return sum;
    };
    shadows.offer(jobOf([[1], [2]]));
    await settle();
    expect(countsOf()).toEqual({ agreed: 1, disagreed: 0, failed: 1, dropped: 0 });
    await shadows.stop();
  });

  it('do not let one version that has no process hold up another', async () => {
    const { shadows, hosts, countsOf } = createFixture();
    shadows.follow(routesOf(shadowOf('2'), shadowOf('3')));
    await shadows.start();
    await settle();
    const [second] = hosts as [FakeHost];
    second.idle = 0;
    shadows.offer(jobOf([[1]], shadowOf('2')));
    shadows.offer(jobOf([[1]], shadowOf('3')));
    await settle();
    expect([countsOf('2').agreed, countsOf('3').agreed, shadows.waiting]).toEqual([0, 1, 1]);
    await shadows.stop();
  });

  it('begin and end their processes with the versions that are to be compared', async () => {
    const { shadows, hosts, quiet, countsOf } = createFixture();
    shadows.follow(routesOf(shadowOf('2')));
    expect(hosts).toEqual([]);
    await shadows.start();
    await settle();
    quiet.is = false;
    shadows.offer(jobOf([[1], [2]]));
    shadows.follow(routesOf(shadowOf('3'), shadowOf('3')));
    await settle();
    expect(hosts.map(({ key, stopped }) => `${key} ${stopped}`)).toEqual(['characters/2 1', 'characters/3 0']);
    expect([countsOf('2').dropped, shadows.waiting]).toEqual([2, 0]);
    shadows.offer(jobOf([[1]], shadowOf('2')));
    expect(countsOf('2').dropped).toBe(3);
    shadows.follow(routesOf(shadowOf('3')));
    expect(hosts).toHaveLength(2);
    await shadows.stop();
    expect(hosts.map(({ stopped }) => stopped)).toEqual([1, 1]);
  });

  it('say why a version cannot be loaded, and try it again when the models change', async () => {
    const { shadows, hosts, broken, quiet } = createFixture();
    broken.is = true;
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    expect([...shadows.processes]).toMatchObject([['characters/2', { state: 'unloadable', reason: 'it is no model' }]]);
    quiet.is = false;
    shadows.offer(jobOf([[1]]));
    broken.is = false;
    shadows.follow(routesOf(shadowOf('2')));
    quiet.is = true;
    await settle();
    expect([...shadows.processes].map(([, { state }]) => state)).toEqual(['ready']);
    expect(hosts.map(({ ran, stopped }) => [ran, stopped])).toEqual([
      [[], 1],
      [[[1]], 0],
    ]);
    await shadows.stop();
  });
});
