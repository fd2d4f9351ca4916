import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { HEADERS, type AcceptedMessage, type CompletedMessage } from '@sluice/contracts';
import { tinyJob } from './fixtures.js';
import { openRig, prepareModels, type ModelFixture, type Rig } from './rig.js';
import { SLOW, SLUGGISH } from './tiny-model.js';
import type { WorkerProcess } from './worker-process.js';

const ONE_PROCESS = { SLUICE_INFERENCE_PROCESSES: '1' };
const ONE_JOB = { ...ONE_PROCESS, SLUICE_PREFETCH_STANDARD: '1' };

describe('a worker that is asked to cancel a job', () => {
  let models: ModelFixture;
  let rig: Rig;

  beforeAll(async () => {
    models = await prepareModels();
    rig = await openRig(models);
  });

  afterEach(() => rig.release());

  afterAll(async () => {
    await rig.close();
    await models.remove();
  });

  const started = (job: AcceptedMessage) => rig.until(() => rig.started.has(job.jobId));
  const completed = (...jobs: AcceptedMessage[]) =>
    rig.until(() => jobs.every(({ jobId }) => rig.completions.has(jobId)));

  function endOf({ jobId }: AcceptedMessage): CompletedMessage {
    const completions = rig.completions.get(jobId) ?? [];
    expect(completions).toHaveLength(1);
    return completions[0] as CompletedMessage;
  }

  /** What workers answered to requests to cancel the job. */
  function answersAbout({ jobId }: AcceptedMessage): readonly string[] {
    return rig.answers.filter((answer) => answer.jobId === jobId).map(({ holding }) => holding);
  }

  /** The job ended `canceled`, billed for these tokens, with nothing of a result. */
  function expectCanceled(job: AcceptedMessage, inputTokens: number, attempt = 1): void {
    const { reservedTokens, reservedNanoUsd } = job;
    expect(endOf(job)).toMatchObject({ state: 'canceled', attempt, reservedTokens, reservedNanoUsd });
    expect(endOf(job).usage).toEqual({ inputTokens, outputTokens: 0, cachedTokens: 0 });
    expect(endOf(job)).not.toHaveProperty('output');
    expect(endOf(job)).not.toHaveProperty('error');
  }

  /** Gives the worker a job that keeps its only process busy. */
  async function occupy(): Promise<AcceptedMessage> {
    const slow = tinyJob(SLOW);
    await rig.submit([slow]);
    await started(slow);
    return slow;
  }

  async function expectWorking(): Promise<void> {
    const good = tinyJob('good');
    await rig.submit([good]);
    await completed(good);
    expect(endOf(good)).toMatchObject({ state: 'succeeded', usage: { inputTokens: 4 } });
  }

  /** The one inference process. */
  async function inferencePid(worker: WorkerProcess): Promise<number> {
    await worker.until(({ inferenceProcesses }) => inferenceProcesses.warm === 1);
    const [pid] = (await worker.health()).detail.inferenceProcesses.pids;
    return pid ?? 0;
  }

  it('ends a job that waits for a process at once, while another job runs', async () => {
    const worker = await rig.worker(ONE_PROCESS);
    const slow = await occupy();
    const waiting = tinyJob(['abc', 'def']);
    await rig.submit([waiting]);
    await worker.until(({ waitingTexts }) => waitingTexts === 2);
    await rig.cancel(waiting);
    await completed(waiting);
    expectCanceled(waiting, 0);
    expect(endOf(waiting)).not.toHaveProperty('startedAtMs');
    expect((await worker.health()).detail).toMatchObject({ waitingTexts: 0, jobsInHand: 1 });
    expect(rig.completions.has(slow.jobId)).toBe(false);
    expect(answersAbout(waiting)).toEqual(['waiting']);

    await rig.cancel(slow);
    await completed(slow);
    expectCanceled(slow, 0);
    expect(answersAbout(slow)).toEqual(['running']);
  });

  it('stops a job that runs alone by replacing its process', async () => {
    const worker = await rig.worker(ONE_PROCESS);
    const before = await inferencePid(worker);
    const slow = await occupy();
    await rig.cancel(slow);
    await completed(slow);
    expectCanceled(slow, 0);
    expect(endOf(slow)).toMatchObject({ modelVersion: '1', startedAtMs: expect.any(Number) });
    await expectWorking();
    expect(await inferencePid(worker)).not.toBe(before);
  });

  it('bills the texts of a job that had run, and begins no more of them', async () => {
    const worker = await rig.worker({ ...ONE_PROCESS, SLUICE_BATCH_MAX_PADDING: '0' });
    const job = tinyJob(['abc', SLOW, 'x'.repeat(200)]);
    await rig.submit([job]);
    await started(job);
    // The first has run and the second is running, each by itself because their lengths differ.
    await worker.until(({ waitingTexts }) => waitingTexts === 1);
    await rig.cancel(job);
    await completed(job);
    expectCanceled(job, 3);
    expect((await worker.health()).detail.waitingTexts).toBe(0);
    await expectWorking();
  });

  it('lets a run that other jobs share go on to its end', async () => {
    await rig.worker({ ...ONE_PROCESS, SLUICE_BATCH_MAX_DELAY: '500ms' });
    const job = tinyJob([`a${SLUGGISH}`, SLOW.repeat(100)]);
    const other = tinyJob(`b${SLUGGISH}`);
    await rig.submit([job, other]);
    await started(job);
    await started(other);
    await rig.cancel(job);
    await completed(job, other);
    // Not 0: the first text ran to its end with the other job's. The second may have begun by then, and was stopped.
    expectCanceled(job, 2);
    expect(endOf(other)).toMatchObject({ state: 'succeeded', usage: { inputTokens: 2 } });
    await expectWorking();
  });

  it('answers each request for the job until its end, and none of another tenant', async () => {
    await rig.worker({ ...ONE_PROCESS, SLUICE_CANCEL_GRACE: '1s' });
    const slow = await occupy();
    await rig.cancel({ ...slow, tenantId: 'somebody-else' });
    await rig.cancel(slow);
    await rig.cancel(slow);
    await rig.until(() => answersAbout(slow).length === 2);
    await completed(slow);
    expectCanceled(slow, 0);
    expect(answersAbout(slow)).toEqual(['running', 'running']);
    await rig.cancel(slow);
    await expectWorking();
    expect(answersAbout(slow)).toHaveLength(2);
  });

  it('does not run a job that comes out of the queue later', async () => {
    await rig.worker(ONE_JOB);
    const slow = await occupy();
    const queued = tinyJob('queued');
    await rig.submit([queued]);
    await rig.cancel(queued);
    await rig.cancel(slow);
    await completed(queued, slow);
    expectCanceled(queued, 0);
    expectCanceled(slow, 0);
    expect(endOf(queued)).not.toHaveProperty('startedAtMs');
    expect(answersAbout(queued)).toEqual([]);
    await expectWorking();
  });

  it('changes nothing about a job that has ended, nor for a request that it cannot read', async () => {
    const worker = await rig.worker();
    const job = tinyJob('abc');
    await rig.submit([job]);
    await completed(job);
    await rig.cancelRaw('{"jobId":');
    await rig.cancelRaw('{"jobId":"not an id"}');
    await rig.cancel(job);
    await worker.until(({ cancelRequests }) => cancelRequests === 1);
    await expectWorking();
    expect(endOf(job).state).toBe('succeeded');
    expect(answersAbout(job)).toEqual([]);
  });

  it('has forgotten the request after a restart, and runs the job', async () => {
    const first = await rig.worker(ONE_JOB);
    const slow = await occupy();
    const queued = tinyJob('queued');
    await rig.submit([queued]);
    await rig.cancel(queued);
    await first.until(({ cancelRequests }) => cancelRequests === 1);
    const pid = await inferencePid(first);
    await first.end('SIGKILL');
    // It would end by itself, but only after the run that it is in.
    process.kill(pid, 'SIGKILL');

    await rig.worker(ONE_JOB);
    await rig.until(() => rig.started.get(slow.jobId) === 2);
    await rig.cancel(slow);
    await completed(slow, queued);
    expectCanceled(slow, 0);
    expect(endOf(queued).state).toBe('succeeded');
  });

  it('stops a job that is tried again after its process ended twice', async () => {
    const worker = await rig.worker(ONE_PROCESS);
    const first = await inferencePid(worker);
    const slow = await occupy();
    process.kill(first, 'SIGKILL');
    const running = (pids: readonly number[], idle: number, past: number) => idle === 0 && !pids.includes(past);
    await worker.until(({ inferenceProcesses: { warm, idle, pids } }) => warm === 1 && running(pids, idle, first));
    process.kill(await inferencePid(worker), 'SIGKILL');
    // The second attempt, after the shortest tier.
    await rig.until(() => rig.started.get(slow.jobId) === 2);
    await rig.cancel(slow);
    await completed(slow);
    expectCanceled(slow, 0, 2);
  });

  it('gives up a job that overran and would only come back to expire', async () => {
    await rig.worker({ SLUICE_INFERENCE_TIMEOUT: '700ms' });
    const stuck = tinyJob(SLOW, { expiresAtMs: Date.now() + 29_000 });
    await rig.submit([stuck], 2);
    await rig.until(() => rig.dead.some(({ messageId }) => messageId === stuck.jobId));
    const letter = rig.dead.find(({ messageId }) => messageId === stuck.jobId);
    expect(letter?.attempt).toBe(2);
    expect(letter?.headers[HEADERS.reason]).toBe('inference_timeout: Inference took longer than 700 ms.');
    expect(rig.completions.has(stuck.jobId)).toBe(false);
  });
});
