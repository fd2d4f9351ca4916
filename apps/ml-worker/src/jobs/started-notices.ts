import { randomUUID } from 'node:crypto';
import { EXCHANGES, MESSAGE_TYPES, type StartedMessage } from '@sluice/contracts';
import type { OutgoingMessage, Publisher } from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import type { JobRef } from './cancellations.js';

/** Shorter jobs are never reported: their end is there before anybody could see that they run. */
const REPORT_AFTER_MS = 200;
/** Time between two messages, so that many jobs share one. */
const TICK_MS = 100;
/** As `startedMessageSchema` allows. */
const MOST_JOBS = 1000;

/** Tells the results collector which jobs have been running for a moment. */
export interface StartedNotices {
  /** The job has begun to run. */
  begin(job: JobRef): void;
  /** The same object has ended, in whatever way; also when it never began. */
  end(job: JobRef): void;
  /** Reports nothing any more. */
  stop(): void;
}

export interface StartedNoticesOptions {
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly logger: Logger;
  /** Now, by the clock of jobs (Unix milliseconds). */
  readonly now: () => number;
}

/**
 * Publishes `jobs.started.v1`, once for each attempt that is still running 200 to 300 ms after it began. The notice is
 * advisory: one that cannot be published is forgotten.
 */
export function createStartedNotices({ publisher, logger, now }: StartedNoticesOptions): StartedNotices {
  /** Not reported yet, in the order they began, with the time of `performance.now`: the clock of jobs may be set. */
  const young = new Map<JobRef, number>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  function arm(delayMs: number): void {
    if (!stopped) timer ??= setTimeout(report, delayMs);
  }

  function report(): void {
    timer = undefined;
    const ripe = takeRipe();
    for (let at = 0; at < ripe.length; at += MOST_JOBS) publish(ripe.slice(at, at + MOST_JOBS));
    const [next] = young.values();
    if (next !== undefined) arm(Math.max(TICK_MS, next + REPORT_AFTER_MS - performance.now()));
  }

  function takeRipe(): Started[] {
    const ripe: Started[] = [];
    for (const [job, begunMs] of young) {
      const ageMs = performance.now() - begunMs;
      if (ageMs < REPORT_AFTER_MS) break;
      young.delete(job);
      ripe.push({ jobId: job.jobId, tenantId: job.tenantId, startedAtMs: Math.max(0, Math.floor(now() - ageMs)) });
    }
    return ripe;
  }

  function publish(started: readonly Started[]): void {
    publisher.publish(toOutgoing(started)).catch((error: unknown) => {
      logger.debug({ err: error, jobs: started.length }, 'a notice of started jobs could not be published');
    });
  }

  return {
    begin(job) {
      young.set(job, performance.now());
      arm(REPORT_AFTER_MS);
    },
    end(job) {
      young.delete(job);
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      timer = undefined;
      young.clear();
    },
  };
}

interface Started extends JobRef {
  readonly startedAtMs: number;
}

/** One message for several jobs; it carries the time at which the first of them began. */
function toOutgoing(started: readonly Started[]): OutgoingMessage {
  const message: StartedMessage = {
    jobs: started.map(({ jobId, tenantId }) => ({ jobId, tenantId })),
    startedAtMs: Math.min(...started.map(({ startedAtMs }) => startedAtMs)),
  };
  return {
    exchange: EXCHANGES.results,
    routingKey: MESSAGE_TYPES.started,
    type: MESSAGE_TYPES.started,
    messageId: randomUUID(),
    body: Buffer.from(JSON.stringify(message)),
  };
}
