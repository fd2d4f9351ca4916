import { ERRORS, isTerminal } from '@sluice/contracts';
import type { JobView } from '@sluice/api-gateway/composition';
import type { Random } from '../../kernel/index.js';
import type { Fleet } from '../apps/fleet.js';
import type { Oracle } from '../oracle/oracle.js';
import type { SimRequest } from '../scenario/requests.js';
import type { World } from '../world.js';
import { createHttp } from './http.js';

export interface Clients {
  /** Nobody wants anything more, and no gateway owes an answer. */
  readonly done: boolean;
  /** What clients still wait for, for a report. */
  readonly waiting: readonly string[];
  start(): void;
}

const QUICK_RETRY_MS = { from: 1, to: 100 } as const;
const RETRY_MS = { from: 100, to: 3_000 } as const;
const POLL_MS = { from: 50, to: 4_000 } as const;
const MOST_POLLS = 8;
/** Each tenant asks for one more job when all is healed, so that whoever was lost is loaded and compared in the end. */
const LAST_AFTER_HEAL_MS = 12_000;

/** The clients: all in one process, which no fault touches. */
export function createClients(world: World, fleet: Fleet, oracle: Oracle): Clients {
  const { kernel, scenario } = world;
  const random: Random = world.random.fork('clients');
  const process = kernel.process('clients', { killable: false });
  const http = createHttp({ kernel, process, fleet, onInternal: (error) => oracle.internal(error) });
  const open = new Map<number, string>();
  let opened = 0;

  const sleep = (lo: number, hi: number): Promise<void> =>
    new Promise((resolve) => void setTimeout(resolve, random.between(lo, hi)));

  /** Begins something later that has to come to an end. */
  function at(afterMs: number, label: string, work: () => Promise<void>): void {
    opened += 1;
    const id = opened;
    open.set(id, label);
    const end = (): void => void open.delete(id);
    kernel.schedule(afterMs, process, label, () => void work().then(end, (error: unknown) => kernel.fail(error)));
  }

  async function submit(request: SimRequest, retries: number, body = request.body): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      oracle.asked(request, body);
      const answer = await http.submit(request.apiKey, body, request.key);
      if (answer.kind === 'ok') return accepted(request, body, answer.value);
      if (answer.kind === 'lost') oracle.leftUnknown(request, body);
      else oracle.refused(request, body, answer.code);
      // Without a key another attempt may be another job; a careless client takes that chance.
      const hopeless = answer.kind === 'error' && !ERRORS[answer.code].retryable;
      if (attempt >= retries || hopeless) return;
      const pause = random.chance(0.4) ? QUICK_RETRY_MS : RETRY_MS;
      await sleep(pause.from, pause.to);
    }
  }

  function accepted(request: SimRequest, body: SimRequest['body'], job: JobView): void {
    oracle.accepted(request, body, job);
    if (request.polls) at(0, `polls ${request.tag}`, () => poll(request, job.id));
    if (request.cancelsAfterMs !== undefined)
      at(request.cancelsAfterMs, `cancels ${request.tag}`, () => cancel(request, job.id));
  }

  async function poll(request: SimRequest, jobId: string): Promise<void> {
    for (let count = 0; count < MOST_POLLS; count += 1) {
      const askedAtMs = kernel.elapsedMs;
      const answer = await http.find(request.apiKey, jobId);
      if (answer.kind === 'ok' && answer.value) {
        oracle.saw(answer.value, askedAtMs);
        if (isTerminal(answer.value.state)) return;
      }
      await sleep(POLL_MS.from, POLL_MS.to);
    }
  }

  async function cancel(request: SimRequest, jobId: string): Promise<void> {
    const askedAtMs = kernel.elapsedMs;
    const answer = await http.cancel(request.apiKey, jobId);
    if (answer.kind === 'ok') oracle.saw(answer.value, askedAtMs);
    else if (answer.kind === 'error' && answer.state !== undefined) oracle.sawState(jobId, answer.state);
  }

  function schedule(request: SimRequest): void {
    const { tag, atMs, retries, twinsAfterMs, otherBodyAfterMs } = request;
    at(atMs, `submits ${tag}`, () => submit(request, retries));
    for (const afterMs of twinsAfterMs) at(atMs + afterMs, `repeats ${tag}`, () => submit(request, retries));
    if (otherBodyAfterMs !== undefined) {
      const body = { ...request.body, input: `${request.text} other` };
      at(atMs + otherBodyAfterMs, `misuses the key of ${tag}`, () => submit(request, 0, body));
    }
  }

  return {
    get done() {
      return open.size === 0 && http.pending === 0;
    },
    get waiting() {
      return [...open.values()];
    },
    start() {
      for (const request of scenario.requests) schedule(request);
      for (const tenant of scenario.tenants) {
        const last = scenario.requests.find((request) => request.tenant === tenant);
        if (!last) continue;
        const probe = { ...last, tag: `last of ${tenant.tenantId}`, text: 'last', key: undefined };
        const body = { ...last.body, input: 'last', metadata: { request: probe.tag } };
        const request: SimRequest = { ...probe, body, polls: false, cancelsAfterMs: undefined };
        at(scenario.healAtMs + LAST_AFTER_HEAL_MS, probe.tag, () => submit(request, 1));
      }
    },
  };
}
