import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from 'undici';
import { createRandom } from '../random.js';
import { createCanceler } from './cancel.js';
import { createCare } from './care.js';
import { loadInputs, type Inputs } from './inputs.js';
import { createJournal, type Counts } from './journal.js';
import type { Observations } from './observations.js';
import { createOutputs } from './outputs.js';
import { createProducer } from './producer.js';
import { startSampler } from './samples.js';
import { conflicting, drawSubmission, type Submission } from './submissions.js';
import type { Tenants } from './tenants.js';
import { createWatch, type WatchedJob } from './watch.js';

export interface LoadOptions {
  /** Base URLs of the gateways that should be tried now, at least one. They keep their ports. */
  readonly urls: () => readonly string[];
  readonly tenants: Tenants;
  /** Of RabbitMQ itself, as the user that `createTenants` was told. */
  readonly amqpUrl: string;
  /** What is submitted, and what its client does then, follows from it; when and where it arrives does not. */
  readonly seed: number;
  /** New submissions. */
  readonly perSecond: number;
}

/** Clients at work. */
export interface Load {
  counts(): Counts;
  /**
   * Submits nothing new. The clients go on with what they have begun, and ask until each job that they know has ended, at
   * most `timeoutMs`. Everything that was seen.
   */
  stop(options: { readonly timeoutMs: number }): Promise<Observations>;
}

/** More submissions under way than that are left out: clients do not pile up while the suite is away. */
const MOST_UNDER_WAY = 800;
const TICK_MS = 20;
const AGENT = { headersTimeout: 90_000, bodyTimeout: 90_000, connectTimeout: 2_000, keepAliveTimeout: 10_000 };
const REPEAT_WITHIN_MS = 20_000;

/** Begins to submit. */
export async function startLoad(options: LoadOptions): Promise<Load> {
  const inputs = await loadInputs();
  return runLoad(options, inputs);
}

function runLoad({ urls, tenants, amqpUrl, seed, perSecond }: LoadOptions, inputs: Inputs): Load {
  const random = createRandom(seed);
  const draws = random.fork();
  const journal = createJournal(seed);
  const [submits, polls] = [new Agent({ ...AGENT, connections: 256 }), new Agent({ ...AGENT, connections: 64 })];
  const common = { urls, journal, random };
  const care = createCare({ ...common, dispatcher: submits });
  const producer = createProducer({ amqpUrl, journal });
  const watch = createWatch({ ...common, dispatcher: polls, outputs: createOutputs() });
  const cancel = createCanceler({ ...common, dispatcher: submits, watch });
  const sampler = startSampler({ ...common, dispatcher: polls, accounts: tenants.clients });
  const underWay = new Set<Promise<void>>();
  let stopped = false;

  const submit = (submission: Submission) => (submission.client.via === 'amqp' ? producer : care).submit(submission);

  async function follow(submission: Submission): Promise<void> {
    const askedAtMs = Date.now();
    const answer = await submit(submission);
    if (!answer) return;
    const job: WatchedJob = { jobId: answer.id, account: submission.client, inputHash: submission.input.hash };
    watch.saw(job, { by: 'submit', askedAtMs }, answer);
    watch.add(job);
    const { repeat, conflict, cancelAfterMs } = submission.then;
    if (cancelAfterMs !== undefined) await sleep(cancelAfterMs).then(() => cancel(job));
    if (conflict) await submit(conflicting(submission));
    if (repeat) {
      await sleep(random.between(0, REPEAT_WITHIN_MS));
      await submit({ ...submission, purpose: 'repeat' });
    }
  }

  function begin(): void {
    const submission = drawSubmission(draws, tenants, inputs);
    if (underWay.size >= MOST_UNDER_WAY) return journal.holdBack();
    const task = follow(submission).finally(() => underWay.delete(task));
    underWay.add(task);
  }

  async function submitSteadily(): Promise<void> {
    const startedAtMs = performance.now();
    for (let begun = 0; !stopped; await sleep(TICK_MS)) {
      const due = Math.floor(((performance.now() - startedAtMs) / 1000) * perSecond);
      for (; begun < due; begun++) begin();
    }
  }
  const submitting = submitSteadily();

  return {
    counts: () => journal.counts(),
    async stop({ timeoutMs }) {
      const untilMs = performance.now() + timeoutMs;
      stopped = true;
      await submitting;
      while (underWay.size + watch.open > 0 && performance.now() < untilMs) await sleep(TICK_MS);
      await Promise.all([watch.stop(), sampler.stop()]);
      await producer.stop();
      await Promise.all([submits.destroy(), polls.destroy()]);
      return journal.observations();
    },
  };
}
