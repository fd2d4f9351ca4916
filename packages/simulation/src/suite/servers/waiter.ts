import { ServiceError } from '@sluice/contracts';
import type { JobWaiter } from '@sluice/quota';
import type { Kernel, Random, SimProcess } from '../../kernel/index.js';

/** Who listens for the end of a job, at Redis. */
interface Subscription {
  readonly process: SimProcess;
  readonly jobId: string;
  /** Runs in the process. */
  readonly tell: () => void;
}

/** The side of Redis that publishes the ends of jobs. */
export interface SimPublisher {
  subscribe(subscription: Subscription): () => void;
  /** A job was settled; runs at the server. */
  publish(jobId: string): void;
  /** Connections are lost, of one process or of all: nobody is subscribed any more. */
  drop(only?: string): void;
  /** Hears in the process that its subscriptions are gone, a moment later. */
  onLost(process: SimProcess, listener: () => void): void;
}

const LONGEST_WAY_MS = 3;
/** How long a lost connection takes to be tried again, milliseconds. */
const RETRY_MS = 100;

export function createSimPublisher(kernel: Kernel, random: Random): SimPublisher {
  const subscriptions = new Set<Subscription>();
  const losers = new Map<SimProcess, () => void>();
  const isHit = ({ name }: SimProcess, only: string | undefined): boolean => (only ?? name) === name;

  return {
    subscribe(subscription) {
      subscriptions.add(subscription);
      return () => void subscriptions.delete(subscription);
    },
    publish(jobId) {
      for (const { process, jobId: wanted, tell } of subscriptions) {
        if (wanted !== jobId || !process.alive) continue;
        kernel.schedule(random.between(0, LONGEST_WAY_MS), process, 'redis: a job has ended', tell);
      }
    },
    drop(only) {
      for (const one of subscriptions) if (isHit(one.process, only)) subscriptions.delete(one);
      for (const [process, listener] of losers) {
        if (!process.alive) losers.delete(process);
        else if (isHit(process, only)) kernel.schedule(RETRY_MS, process, 'redis: subscribers reconnect', listener);
      }
    },
    onLost: (process, listener) => void losers.set(process, listener),
  };
}

/** The waiter of one process: as `createJobWaiter`, over a connection that loses its subscriptions with Redis. */
export function createSimWaiter(kernel: Kernel, process: SimProcess, publisher: SimPublisher): JobWaiter {
  interface Wait {
    readonly jobId: string;
    readonly finish: (settled: boolean) => void;
    readonly check: () => void;
    unsubscribe: () => void;
  }
  const waits = new Set<Wait>();
  let stopped = false;
  let resuming = false;

  async function listen(wait: Wait): Promise<void> {
    const { jobId, finish } = wait;
    wait.unsubscribe = await kernel.call(process, 'redis', 'subscribe', () =>
      publisher.subscribe({ process, jobId, tell: () => finish(true) }),
    );
    if (!waits.has(wait)) wait.unsubscribe();
  }

  /** Subscribes anew after a lost connection, then asks for what was missed. */
  async function resume(): Promise<void> {
    if (resuming || stopped) return;
    resuming = true;
    try {
      await Promise.all([...waits].map(listen));
    } catch {
      setTimeout(() => void resume(), RETRY_MS);
      return;
    } finally {
      resuming = false;
    }
    for (const wait of waits) wait.check();
  }

  return {
    get channels() {
      return waits.size;
    },
    async start() {
      publisher.onLost(process, () => void resume());
    },
    async stop() {
      stopped = true;
      for (const wait of waits) wait.finish(false);
    },
    async wait(_tenantId, jobId, { timeoutMs, signal, check }) {
      if (stopped || signal?.aborted) return false;
      let settle: (settled: boolean) => void = () => undefined;
      let fail: (error: unknown) => void = () => undefined;
      const ended = new Promise<boolean>((resolve, reject) => {
        settle = resolve;
        fail = reject;
      });
      const finish = (settled: boolean): void => settle(settled);
      const wait: Wait = {
        ...{ jobId, finish, unsubscribe: () => undefined },
        check: () => void check?.().then((done) => done && finish(true), fail),
      };
      const giveUp = (): void => finish(false);
      const timer = setTimeout(giveUp, timeoutMs);
      signal?.addEventListener('abort', giveUp, { once: true });
      waits.add(wait);
      const refuse = (cause: unknown): void =>
        fail(new ServiceError('quota_unavailable', 'Redis cannot be listened to.', { cause }));
      listen(wait).then(wait.check, refuse);
      try {
        return await ended;
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', giveUp);
        waits.delete(wait);
        wait.unsubscribe();
      }
    },
  };
}
