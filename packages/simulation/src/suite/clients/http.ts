import { setMaxListeners } from 'node:events';
import { isServiceError, type ErrorCode } from '@sluice/contracts';
import { parseSubmission, type Gateway, type JobView } from '@sluice/api-gateway/composition';
import type { Kernel, SimProcess } from '../../kernel/index.js';
import type { Fleet } from '../apps/fleet.js';
import type { SimApiKey } from '../scenario/tenants.js';

/** What a client learns of a request. `lost`: nothing, be it that the connection broke or that it took too long. */
export type Answer<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly state?: string }
  | { readonly kind: 'lost' };

export interface HttpOptions {
  readonly kernel: Kernel;
  /** The process of the clients. */
  readonly process: SimProcess;
  readonly fleet: Fleet;
  /** Hears of what no gateway should answer: an error that is none of the product's own. */
  readonly onInternal: (error: unknown) => void;
}

/** The ways into a gateway that a client has, below the parsing of HTTP. */
export interface Http {
  submit(key: SimApiKey, body: unknown, idempotencyKey: string | undefined): Promise<Answer<JobView>>;
  /** Undefined: 404. */
  find(key: SimApiKey, jobId: string): Promise<Answer<JobView | undefined>>;
  cancel(key: SimApiKey, jobId: string): Promise<Answer<JobView>>;
  /** Requests that a gateway which lives has not answered, whether or not their client still waits. */
  readonly pending: number;
}

const CLIENT_TIMEOUT_MS = 12_000;

export function createHttp({ kernel, process, fleet, onInternal }: HttpOptions): Http {
  const random = kernel.random.fork('load balancer');
  let pending = 0;

  async function answered<T>(work: () => Promise<T>): Promise<Answer<T>> {
    try {
      return { kind: 'ok', value: await work() };
    } catch (error) {
      if (!isServiceError(error)) onInternal(error);
      else if (error.code === 'internal') onInternal(error.cause ?? error);
      const code = isServiceError(error) ? error.code : 'internal';
      const state = isServiceError(error) ? error.extensions['state'] : undefined;
      return { kind: 'error', code, ...(typeof state === 'string' && { state }) };
    }
  }

  async function ask<T>(label: string, work: (gateway: Gateway) => Promise<T>): Promise<Answer<T>> {
    const gateways = fleet.gateways();
    if (gateways.length === 0) return { kind: 'error', code: 'broker_unavailable' };
    const { process: to, gateway } = random.pick(gateways);
    pending += 1;
    const answer = kernel
      .ask(process, to, label, () => answered(() => work(gateway)))
      .catch((): Answer<T> => ({ kind: 'lost' }))
      .finally(() => (pending -= 1));
    return within(CLIENT_TIMEOUT_MS, answer);
  }

  const holder = (gateway: Gateway, { secret }: SimApiKey) =>
    gateway.jobs.authentication.authenticate(`Bearer ${secret}`);

  return {
    get pending() {
      return pending;
    },
    submit: (key, body, idempotencyKey) =>
      ask('POST /v1/jobs', async (gateway) => {
        const principal = await holder(gateway, key);
        const submission = parseSubmission(body, gateway.jobs.bounds);
        return (await gateway.jobs.admission({ principal, submission, idempotencyKey })).job;
      }),
    find: (key, jobId) =>
      ask('GET /v1/jobs/:id', async (gateway) => {
        const { tenantId } = await holder(gateway, key);
        return (await gateway.jobs.lookup(tenantId, jobId))?.view;
      }),
    cancel: (key, jobId) =>
      ask('DELETE /v1/jobs/:id', async (gateway) => {
        const { tenantId } = await holder(gateway, key);
        return gateway.jobs.cancellation({ tenantId, jobId, signal: NEVER });
      }),
  };
}

const NEVER = new AbortController().signal;
setMaxListeners(0, NEVER);

async function within<T>(ms: number, answer: Promise<Answer<T>>): Promise<Answer<T>> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<Answer<T>>((resolve) => {
    timer = setTimeout(() => resolve({ kind: 'lost' }), ms);
  });
  try {
    return await Promise.race([answer, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
