import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import type { Random } from '../random.js';
import { attemptSubmit, type Attempt, type JobAnswer } from './attempt.js';
import type { Journal } from './journal.js';
import { sentNote, type Submission } from './submissions.js';

export interface CareOptions {
  /** Base URLs of the gateways to try now. */
  readonly urls: () => readonly string[];
  readonly dispatcher: Dispatcher;
  readonly journal: Journal;
  readonly random: Random;
}

/** Sends submissions as a careful application does. */
export interface Care {
  /**
   * The job, if an answer told of it. With a key it is sent again, possibly elsewhere, until the answer is final or patience
   * is out; without one once only, for a second attempt could be a second job.
   */
  submit(submission: Submission): Promise<JobAnswer | undefined>;
}

/** An impatient client makes answers that nobody waits for any more. */
const TIMEOUT_MS = [1_000, 6_000] as const;
const PATIENCE_MS = 60_000;
const PAUSE_MS = [100, 1_500] as const;
/** Whoever is told to come back later than that gives up. */
const LONGEST_RETRY_AFTER_MS = 5_000;

export function createCare({ urls, dispatcher, journal, random }: CareOptions): Care {
  async function attempt(submission: Submission, number: number): Promise<Attempt> {
    const url = random.pick(urls());
    journal.note(sentNote(submission, number, url));
    const came = await attemptSubmit(submission, { url, dispatcher, timeoutMs: random.between(...TIMEOUT_MS) });
    const { job: _job, retryAfterMs: _later, ...noted } = came;
    journal.note({ kind: 'answered', request: submission.request, attempt: number, ...noted });
    return came;
  }

  return {
    async submit(submission) {
      const giveUpAtMs = performance.now() + PATIENCE_MS;
      for (let number = 1; ; number++) {
        const came = await attempt(submission, number);
        const isOver = performance.now() > giveUpAtMs;
        if (submission.idempotencyKey === undefined || isOver || isFinal(came)) return came.job;
        await sleep(Math.max(came.retryAfterMs ?? 0, random.between(...PAUSE_MS)));
      }
    },
  };
}

/** Whether sending the same again makes no sense. */
function isFinal({ outcome, status = 0, retryAfterMs = 0 }: Attempt): boolean {
  if (outcome === 'accepted' || retryAfterMs > LONGEST_RETRY_AFTER_MS) return true;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
