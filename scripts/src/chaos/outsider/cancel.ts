import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { call } from '../../client.js';
import type { Random } from '../random.js';
import { errorCode, type JobAnswer } from './attempt.js';
import type { Journal } from './journal.js';
import type { Watch, WatchedJob } from './watch.js';

export interface CancelerOptions {
  readonly urls: () => readonly string[];
  readonly dispatcher: Dispatcher;
  readonly journal: Journal;
  readonly watch: Pick<Watch, 'saw'>;
  readonly random: Random;
}

const TRIES = 4;
const PAUSE_MS = 500;
const TIMEOUT_MS = 8_000;

/** Cancels jobs. A lost answer, a 5xx, and a 202 are asked for again a few times. */
export function createCanceler(options: CancelerOptions): (job: WatchedJob) => Promise<void> {
  const { urls, dispatcher, journal, watch, random } = options;

  /** True when nothing more is to be said. */
  async function ask(job: WatchedJob): Promise<boolean> {
    const { jobId, account } = job;
    const about = { kind: 'canceled', jobId, tenantId: account.tenantId, askedAtMs: Date.now() } as const;
    try {
      const { status, body } = await call<JobAnswer & { readonly code?: string }>(
        random.pick(urls()),
        `/v1/jobs/${jobId}`,
        { method: 'DELETE', key: account.key, dispatcher, timeoutMs: TIMEOUT_MS },
      );
      const { state, code } = body;
      journal.note({ ...about, status, ...(state !== undefined && { state }), ...(code !== undefined && { code }) });
      if (status === 200 || status === 202) watch.saw(job, { by: 'cancel', askedAtMs: about.askedAtMs }, body);
      return status === 200 || status === 409;
    } catch (error) {
      journal.note({ ...about, code: errorCode(error) });
      return false;
    }
  }

  return async function cancel(job) {
    for (let count = 0; count < TRIES && !(await ask(job)); count++) await sleep(PAUSE_MS);
  };
}
