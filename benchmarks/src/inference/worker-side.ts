import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AcceptedMessage } from '@sluice/contracts';
import { CONFIG_DIR, MODEL_DIR, startApp } from '@sluice/scripts';
import { openBrokerEnds, type BrokerEnds } from './broker-ends.js';
import { checkFacts } from './jobs.js';

export interface WorkerSideOptions {
  readonly rabbitmqUrl: string;
  /** For its log. */
  readonly directory: string;
  readonly processes: number;
  /** Ends what is waited for, with an error. */
  readonly signal: AbortSignal;
}

/** The built worker as a process of its own, with the broker between it and the benchmark. */
export interface WorkerSide {
  readonly ends: BrokerEnds;
  readonly pid: number;
  /** What is waited for. @throws Error when the worker ends first, or takes longer than two minutes. */
  inTime<Value>(wanted: Promise<Value>): Promise<Value>;
  /** Ids of its inference processes. */
  inferencePids(): Promise<readonly number[]>;
  /**
   * Runs jobs that are all in the queue before the first is looked at. Resolves with the time from then until the last terminal fact,
   * which the broker has confirmed by then, arrived; in milliseconds.
   *
   * @param onStart called when the clock starts.
   * @throws Error when a job did not succeed, or is to be billed for other tokens than it has, and when the worker ends or takes
   *   longer than two minutes.
   */
  drain(jobs: readonly AcceptedMessage[], onStart?: () => void): Promise<number>;
  /** Text of one of its ops pages. */
  page(path: string): Promise<string>;
  stop(): Promise<void>;
}

const TIME_LIMIT_MS = 120_000;

/** Starts a worker and waits until it takes jobs. */
export async function startWorkerSide(options: WorkerSideOptions): Promise<WorkerSide> {
  const { rabbitmqUrl, directory, processes, signal } = options;
  const worker = await startApp({
    app: 'ml-worker',
    name: 'ml-worker-1',
    logFile: join(directory, 'ml-worker.log'),
    environment: {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      SLUICE_RABBITMQ_URL: rabbitmqUrl,
      SLUICE_CONFIG_DIR: CONFIG_DIR,
      SLUICE_MODEL_DIR: MODEL_DIR,
      // Measured anew: what an earlier run found on a busy machine should not decide.
      SLUICE_CALIBRATION_DIR: join(directory, 'calibration'),
      SLUICE_INFERENCE_PROCESSES: String(processes),
      SLUICE_OPS_PORT: '0',
    },
  });
  const ends = await openBrokerEnds(rabbitmqUrl);
  const page = async (path: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${worker.opsPort}${path}`)).text();

  /** What is waited for; rejects when it cannot come any more. */
  async function inTime<Value>(wanted: Promise<Value>): Promise<Value> {
    const over = new AbortController();
    const limit = sleep(TIME_LIMIT_MS, undefined, { signal: AbortSignal.any([over.signal, signal]) });
    const tooLate = limit.then(() => fail(`took longer than ${TIME_LIMIT_MS} ms`));
    const gone = worker.exited.then(() => fail('ended'));
    for (const loser of [tooLate, gone]) loser.catch(() => undefined);
    return Promise.race([wanted, tooLate, gone]).finally(() => over.abort());
  }

  return {
    ends,
    pid: worker.pid,
    inTime,
    page,
    async inferencePids() {
      const { detail } = JSON.parse(await page('/health')) as {
        readonly detail: { readonly inferenceProcesses: { readonly pids: readonly number[] } };
      };
      return detail.inferenceProcesses.pids;
    },
    async drain(jobs, onStart) {
      const facts = new Map<string, Buffer>();
      const finished = new Promise<number>((resolve) => {
        ends.onCompleted((jobId, body) => {
          facts.set(jobId, body);
          if (facts.size === jobs.length) resolve(performance.now());
        });
      });
      // n.b. a worker that stands still takes nothing: what the broker has pushed to it waits in its socket.
      worker.signal('SIGSTOP');
      await Promise.all(jobs.map((job) => ends.submit(job)));
      onStart?.();
      const startedAt = performance.now();
      worker.signal('SIGCONT');
      const elapsedMs = (await inTime(finished)) - startedAt;
      ends.onCompleted(undefined);
      checkFacts(jobs, facts);
      return elapsedMs;
    },
    async stop() {
      await ends.close();
      await worker.stop();
    },
  };
}

function fail(what: string): never {
  throw new Error(`the worker ${what}`);
}
