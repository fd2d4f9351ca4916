import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import { createMetrics } from '@sluice/telemetry';
import {
  createShadowFixture,
  jobOf,
  nameOf,
  pairOf,
  routesOf,
  shadowOf,
  versionOf,
  type FakeHost,
} from '../../test/shadow-fixture.js';
import { StarvedRunError } from '../inference/inference-child.js';
import { createShadowTally } from './shadow-tally.js';
import { MOST_BYTES, MOST_JOBS } from './shadows.js';

describe('shadows', () => {
  beforeEach(() => void jest.useFakeTimers({ doNotFake: ['performance'] }));
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });
  const settle = () => jest.advanceTimersByTimeAsync(100);

  it('compare each text of a job, one at a time, and count what came of it', async () => {
    const { shadows, hosts, countsOf, tally, metrics } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    const [host] = hosts as [FakeHost];
    host.outcome = async (sum) => (sum === 5 ? sum + 2 : sum);
    shadows.offer(jobOf([[1, 2], [5]]));
    await settle();
    expect(host.ran).toEqual([[1, 2], [5]]);
    expect(countsOf()).toEqual({ agreed: 1, disagreed: 1, failed: 0, dropped: 0 });
    expect(tally.of(pairOf('2'))).toMatchObject({
      ...{ cosine: { least: 1, mean: 1 }, greatestDifference: 2 },
    });
    const labels = 'model="with shadow characters/2",outcome="disagreed",shadow="2",version="1"';
    expect(metrics.render()).toContain(`sluice_worker_shadow_texts_total{${labels}} 1\n`);
    await shadows.stop();
  });

  it('wait while the worker has other work, also between the texts of a job', async () => {
    const { shadows, hosts, quiet, countsOf, waiting } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    const [host] = hosts as [FakeHost];
    quiet.is = false;
    shadows.offer(jobOf([[1], [2], [3]]));
    await settle();
    expect([host.ran, waiting()]).toEqual([[], 1]);
    host.outcome = async (sum) => {
      quiet.is = sum !== 2;
      return sum;
    };
    quiet.is = true;
    await settle();
    expect([host.ran, waiting()]).toEqual([[[1], [2]], 1]);
    quiet.is = true;
    await settle();
    expect(countsOf()).toEqual({ agreed: 3, disagreed: 0, failed: 0, dropped: 0 });
    await shadows.stop();
  });

  it('keep copies, and no more than their bounds', async () => {
    const { shadows, hosts, quiet, countsOf, waiting } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    quiet.is = false;
    const job = jobOf([[1]]);
    for (let at = 0; at < MOST_JOBS + 3; at += 1) shadows.offer(job);
    job.sequences[0]?.fill(9);
    job.rows.fill(9);
    expect([waiting(), countsOf().dropped]).toEqual([MOST_JOBS, 3]);
    quiet.is = true;
    await settle();
    expect(new Set(hosts[0]?.ran.flat())).toEqual(new Set([1]));
    expect(countsOf()).toEqual({ agreed: MOST_JOBS, disagreed: 0, failed: 0, dropped: 3 });
    quiet.is = false;
    const large = jobOf([new Array<number>(MOST_BYTES / 8).fill(0)]);
    for (let at = 0; at < 3; at += 1) shadows.offer(large);
    expect([waiting(), countsOf().dropped]).toEqual([1, 5]);
    await shadows.stop();
  });

  it('count a text that cannot be run, and go on with the next', async () => {
    const { shadows, hosts, countsOf } = createShadowFixture();
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

  it('drop a text that had too little of the processor, which says nothing against its version', async () => {
    const { shadows, hosts, countsOf } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    const [host] = hosts as [FakeHost];
    host.outcome = async (sum) => {
      if (sum === 1) throw new StarvedRunError(30_000);
      return sum;
    };
    shadows.offer(jobOf([[1], [2]]));
    await settle();
    expect(countsOf()).toEqual({ agreed: 1, disagreed: 0, failed: 0, dropped: 1 });
    await shadows.stop();
  });

  it.each<[string, (host: FakeHost) => void]>([
    ['has no process', (host) => void (host.idle = 0)],
    ['never ends', (host) => void (host.outcome = () => new Promise(() => undefined))],
  ])('do not let one version that %s hold up another', async (_what, spoil) => {
    const { shadows, hosts, countsOf, waiting } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2'), shadowOf('3')));
    await shadows.start();
    await settle();
    const [second] = hosts as [FakeHost];
    spoil(second);
    for (let at = 0; at < MOST_JOBS; at += 1) shadows.offer(jobOf([[1]], shadowOf('2')));
    for (let at = 0; at < 9; at += 1) shadows.offer(jobOf([[1]], shadowOf('3')));
    await settle();
    expect([countsOf('2').agreed, countsOf('3')]).toEqual([0, { agreed: 9, disagreed: 0, failed: 0, dropped: 0 }]);
    expect([waiting('2'), waiting('3')]).toEqual([MOST_JOBS / 2, 0]);
    void shadows.stop();
  });

  it('divide what may wait among the versions, and drop the newest of what does not fit any more', async () => {
    const { shadows, quiet, countsOf, waiting } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    quiet.is = false;
    for (let at = 0; at < MOST_JOBS; at += 1) shadows.offer(jobOf([[1]]));
    shadows.follow(routesOf(...['2', '3', '4', '5'].map(shadowOf)));
    expect([waiting('2'), countsOf('2').dropped]).toEqual([MOST_JOBS / 4, (MOST_JOBS * 3) / 4]);
    shadows.offer(jobOf([new Array<number>(MOST_BYTES / 16).fill(0)], shadowOf('3')));
    expect(countsOf('3').dropped).toBe(1);
    await shadows.stop();
  });

  it('begin and end their processes with the versions that are to be compared, and forget what is gone', async () => {
    const { shadows, hosts, quiet, countsOf, tally, metrics, waiting } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    expect(hosts).toEqual([]);
    await shadows.start();
    await settle();
    shadows.offer(jobOf([[1]]));
    await settle();
    quiet.is = false;
    shadows.offer(jobOf([[1], [2]]));
    shadows.follow(routesOf(shadowOf('3'), { ...shadowOf('3'), percent: 5 }));
    await settle();
    expect(hosts.map(({ key, stopped }) => `${key} ${stopped}`)).toEqual(['characters/2 1', 'characters/3 0']);
    shadows.offer(jobOf([[1]], shadowOf('2')));
    tally.failed(jobOf([[1]], shadowOf('2')), new Error('late'));
    expect(countsOf('2')).toEqual({ agreed: 0, disagreed: 0, failed: 0, dropped: 0 });
    expect([metrics.render().includes('shadow="2"'), waiting('2')]).toEqual([false, undefined]);
    shadows.follow(routesOf(shadowOf('3')));
    expect(hosts).toHaveLength(2);
    await shadows.stop();
    expect(hosts.map(({ stopped }) => stopped)).toEqual([1, 1]);
  });

  it('do not count a run that ends because its version is not compared with any more', async () => {
    const { shadows, hosts, tally, countsOf } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    const [host] = hosts as [FakeHost];
    let end: (error: Error) => void = () => undefined;
    host.outcome = () => new Promise((_resolve, reject) => (end = reject));
    shadows.offer(jobOf([[1]]));
    await settle();
    const stopped = shadows.stop();
    end(new ServiceError('inference_crashed', 'It is gone.'));
    await stopped;
    expect(tally.of(pairOf('2'))).toMatchObject({ failed: 0, dropped: 1 });
    expect(countsOf().failed).toBe(0);
  });

  it('do not mix versions of one number whose files were replaced', async () => {
    const { shadows, countsOf, tally, metrics, quiet, waiting } = createShadowFixture();
    shadows.follow(routesOf(shadowOf('2')));
    await shadows.start();
    await settle();
    shadows.offer(jobOf([[1], [2]]));
    await settle();
    expect(countsOf().agreed).toBe(2);
    quiet.is = false;
    shadows.offer(jobOf([[3]]));
    const replaced = { ...versionOf('1'), key: 'characters/1~1' };
    const shadow = shadowOf('2');
    shadows.follow(new Map([[nameOf(shadow), { main: replaced, shadow }]]));
    expect([waiting(), tally.of({ ...pairOf('2'), served: replaced }).agreed]).toEqual([0, 0]);
    quiet.is = true;
    shadows.offer({ ...jobOf([[4]]), served: replaced });
    await settle();
    expect(tally.of({ ...pairOf('2'), served: replaced }).agreed).toBe(1);
    expect(metrics.render()).toMatch(/shadow_texts_total\{.*outcome="agreed",shadow="2",version="1"\} 1\n/);
    await shadows.stop();
  });

  it('say why a version cannot be loaded, drop its jobs, and try it again when the models are looked at', async () => {
    const { shadows, hosts, broken, quiet, states, countsOf, waiting } = createShadowFixture();
    broken.is = true;
    shadows.follow(routesOf(shadowOf('2')));
    const started = shadows.start();
    quiet.is = false;
    shadows.offer(jobOf([[1], [2]]));
    expect([states(), shadows.areLoaded, waiting()]).toEqual([['loading'], false, 1]);
    await started;
    await settle();
    expect([...shadows.versions.values()]).toMatchObject([{ state: 'unloadable', reason: 'it is no model' }]);
    expect([...shadows.unloadable.values(), ...shadows.problems]).toEqual([
      'it is no model',
      expect.stringMatching(/^The shadow of .+ cannot be used: it is no model$/),
    ]);
    shadows.offer(jobOf([[1]]));
    expect([waiting(), countsOf().dropped, shadows.areLoaded]).toEqual([0, 3, false]);
    broken.is = false;
    shadows.follow(routesOf(shadowOf('2')));
    shadows.offer(jobOf([[1]]));
    quiet.is = true;
    await settle();
    expect([states(), shadows.areLoaded]).toEqual([['ready'], true]);
    expect([shadows.unloadable.size, shadows.problems]).toEqual([0, []]);
    expect(hosts.map(({ ran, stopped }) => [ran, stopped])).toEqual([
      [[], 1],
      [[[1]], 0],
    ]);
    await shadows.stop();
  });

  it('write nothing of what came out to the log', async () => {
    const lines: string[] = [];
    const logger = createLogger({ app: 'test', level: 'warn', stream: { write: (line) => void lines.push(line) } });
    const tally = createShadowTally({ metrics: createMetrics(), logger, now: () => 0 });
    const job = { ...jobOf([[1, 2]]), jobId: 'job-7' };
    tally.follow([job]);
    tally.compared(job, 0, { greatest: 0.75, labels: { served: 'secret-a', shadow: 'secret-b' } });
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ jobId: 'job-7', greatest: 0.75, sameLabel: false, tokens: 2 });
    expect(lines[0]).not.toContain('secret');
  });
});
