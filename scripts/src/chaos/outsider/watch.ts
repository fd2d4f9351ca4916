import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { call } from '../../client.js';
import type { Random } from '../random.js';
import type { JobAnswer } from './attempt.js';
import { isTerminalState, type Journal } from './journal.js';
import type { Seen } from './observations.js';
import type { Outputs } from './outputs.js';
import type { Account } from './tenants.js';

/** A job that its client waits for. */
export interface WatchedJob {
  readonly jobId: string;
  readonly account: Account;
  readonly inputHash: string;
}

export interface WatchOptions {
  readonly urls: () => readonly string[];
  readonly dispatcher: Dispatcher;
  readonly journal: Journal;
  readonly outputs: Outputs;
  readonly random: Random;
}

/** Asks for jobs until they have ended, and for some of them later again. */
export interface Watch {
  add(job: WatchedJob): void;
  /** Notes what the answer says to a question about a job that left at `askedAtMs` (Unix milliseconds). */
  saw(job: WatchedJob, question: Question, answer: JobAnswer): void;
  /** Jobs that have not been seen to end. */
  readonly open: number;
  /** Stops asking. */
  stop(): Promise<void>;
}

const LANES = 40;
const POLL_TIMEOUT_MS = 6_000;
const LONG_POLL = 0.5;
const LONGEST_WAIT_S = 3;
const PAUSE_MS = 300;
/** Share of the ended jobs that are asked for again, and when. */
const AGAIN = 0.2;
const AGAIN_WITHIN_MS = 30_000;

type Question = Pick<Seen, 'by' | 'askedAtMs'>;

interface Turn {
  readonly job: WatchedJob;
  readonly notBeforeMs: number;
}

export function createWatch({ urls, dispatcher, journal, outputs, random }: WatchOptions): Watch {
  const turns: Turn[] = [];
  const open = new Set<string>();
  let stopped = false;

  function later(job: WatchedJob, delayMs: number): void {
    turns.push({ job, notBeforeMs: performance.now() + delayMs });
  }

  function saw({ jobId, account, inputHash }: WatchedJob, question: Question, answer: JobAnswer): void {
    const { state, usage, amountNanoUsd, output, error } = answer;
    // What is said before the end is of no interest; what is said after it must be the same.
    if (!isTerminalState(state) && !journal.hasEnded(jobId)) return;
    open.delete(jobId);
    journal.note({
      ...{ kind: 'seen', jobId, tenantId: account.tenantId, ...question, state },
      ...(usage && { usage }),
      ...(amountNanoUsd !== undefined && { amountNanoUsd }),
      ...(error && { errorCode: error.code }),
      ...(output && outputs.compare(inputHash, output)),
    });
  }

  async function poll(job: WatchedJob): Promise<void> {
    const longPoll = random.next() < LONG_POLL;
    const question: Question = { by: longPoll ? 'long-poll' : 'poll', askedAtMs: Date.now() };
    const query = longPoll ? `?wait=${random.between(1, LONGEST_WAIT_S)}` : '';
    const answer = await call<JobAnswer>(random.pick(urls()), `/v1/jobs/${job.jobId}${query}`, {
      ...{ key: job.account.key, dispatcher, timeoutMs: POLL_TIMEOUT_MS },
    });
    const missing = answer.status === 404 && { id: job.jobId, state: 'missing' };
    if (answer.status === 200 || missing) saw(job, question, missing || answer.body);
  }

  async function turn(job: WatchedJob): Promise<void> {
    const wasOpen = open.has(job.jobId);
    await poll(job).catch(() => undefined);
    if (open.has(job.jobId)) later(job, PAUSE_MS);
    else if (wasOpen && random.next() < AGAIN) later(job, random.between(0, AGAIN_WITHIN_MS));
  }

  /** The next turn that is due; turns are looked at in the order in which they were added. */
  function next(): WatchedJob | undefined {
    const nowMs = performance.now();
    const index = turns.findIndex(({ notBeforeMs }) => notBeforeMs <= nowMs);
    return index < 0 ? undefined : turns.splice(index, 1)[0]?.job;
  }

  async function lane(): Promise<void> {
    while (!stopped) {
      const job = next();
      if (job) await turn(job);
      else await sleep(50);
    }
  }
  const lanes = Array.from({ length: LANES }, lane);

  return {
    saw,
    add(job) {
      if (!journal.hasEnded(job.jobId)) open.add(job.jobId);
      later(job, 0);
    },
    get open() {
      return open.size;
    },
    async stop() {
      stopped = true;
      await Promise.all(lanes);
    },
  };
}
