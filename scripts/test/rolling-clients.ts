import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from 'undici';
import { call, type CallOptions, type Tenant } from '../src/client.js';
import type { DemoJob } from '../src/demo-run.js';

/** Tenants' programs that do not know of an update: each has one connection, keeps it, and repeats nothing. */
export interface Clients {
  /** What was not answered as it should be: broken connections, and any status above 299. */
  readonly failures: readonly string[];
  readonly requests: number;
  /** Long polls that were answered before their time although their job had not ended. */
  readonly earlyPolls: number;
  /** Ends the load and waits for what is under way; gives every job that was accepted. */
  finish(): Promise<readonly DemoJob[]>;
}

export interface ClientsOptions {
  readonly url: string;
  readonly tenant: Tenant;
  /** Name of a model that no worker serves, so that its jobs stay open. */
  readonly parkedModel: string;
}

const BUSY = 6;
const SELDOM = 3;
const WAITING = 3;
const SELDOM_PAUSE_MS = 1500;
const LONGEST_POLL_SECONDS = 60;

export function startClients({ url, tenant: { key }, parkedModel }: ClientsOptions): Clients {
  const failures: string[] = [];
  const jobs = new Map<string, DemoJob>();
  let requests = 0;
  let earlyPolls = 0;
  let going = true;

  type Ask = <Body>(path: string, options?: CallOptions) => Promise<Body | undefined>;

  /** A client's loop on a connection of its own. */
  async function lane(work: (ask: Ask) => Promise<void>): Promise<void> {
    const dispatcher = new Agent({ connections: 1, pipelining: 1, headersTimeout: 90_000, bodyTimeout: 90_000 });
    const ask: Ask = async <Body>(path: string, options: CallOptions = {}) => {
      requests += 1;
      const what = `${options.method ?? 'GET'} ${path}`;
      try {
        const { status, body } = await call<Body>(url, path, { ...options, key, dispatcher });
        if (status < 300) return body;
        failures.push(`${what}: ${status} ${JSON.stringify(body)}`);
      } catch (error) {
        failures.push(`${what}: ${String(error)}`);
      }
      await sleep(100);
      return undefined;
    };
    try {
      await work(ask);
    } finally {
      await dispatcher.close();
    }
  }

  async function submit(ask: Ask, model: string): Promise<DemoJob | undefined> {
    const job = await ask<DemoJob>('/v1/jobs', { method: 'POST', body: { model, input: `text ${requests}` } });
    if (job) jobs.set(job.id, job);
    return job;
  }

  /** Polls until the job has ended, or the load has. */
  async function follow(ask: Ask, { id }: DemoJob, until: () => boolean): Promise<void> {
    while (!until()) {
      const job = await ask<DemoJob>(`/v1/jobs/${id}?wait=${LONGEST_POLL_SECONDS}`);
      if (job) jobs.set(id, job);
      if (job && hasEnded(job)) return;
      if (job) earlyPolls += 1;
      await sleep(20);
    }
  }

  async function busy(ask: Ask): Promise<void> {
    while (going) {
      const job = await submit(ask, 'use-lite-en');
      if (job) await follow(ask, job, () => false);
    }
  }

  async function seldom(ask: Ask): Promise<void> {
    while (going) {
      await ask('/v1/quota');
      await sleep(SELDOM_PAUSE_MS * (0.5 + Math.random()));
    }
  }

  const parked: string[] = [];
  async function waiting(ask: Ask): Promise<void> {
    const job = await submit(ask, parkedModel);
    if (job === undefined) return;
    parked.push(job.id);
    await follow(ask, job, () => !going);
  }

  const lanes = [
    ...Array.from({ length: BUSY }, () => lane(busy)),
    ...Array.from({ length: SELDOM }, () => lane(seldom)),
    ...Array.from({ length: WAITING }, () => lane(waiting)),
  ];
  return {
    failures,
    get requests() {
      return requests;
    },
    get earlyPolls() {
      return earlyPolls;
    },
    async finish() {
      going = false;
      // The polls of parked jobs end with them.
      await lane(async (ask) => {
        for (const id of parked) {
          const job = await ask<DemoJob>(`/v1/jobs/${id}`, { method: 'DELETE' });
          if (job) jobs.set(id, job);
          if (job) await follow(ask, job, () => hasEnded(job));
        }
      });
      await Promise.all(lanes);
      return [...jobs.values()];
    },
  };
}

function hasEnded({ state }: DemoJob): boolean {
  return state !== 'queued' && state !== 'running';
}
