import type { Logger, Service } from '@sluice/runtime';
import type { Redis } from 'ioredis';
import { closeRedis, openAny, redisReady } from './connection.js';
import { doneChannel } from './keys.js';
import { onRedis } from './unavailable.js';

export interface JobWaiterOptions {
  /** As for `connectRedis`. Of a cluster one node is enough, for a publish reaches all of them. */
  readonly url: string;
  readonly keyPrefix: string;
  readonly logger: Logger;
  /** How long `start` waits for Redis, in milliseconds; 5,000 when absent. */
  readonly startTimeoutMs?: number;
}

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /**
   * Says whether the job has ended already; true ends the wait. Called once listening has begun, so that no end is
   * missed between looking and listening, and again after a lost connection.
   */
  readonly check?: () => Promise<boolean>;
}

/** Waits for the ends of jobs, on a connection of its own. */
export interface JobWaiter extends Service {
  /**
   * Waits until a job is settled. True when it was; false on timeout, when the signal aborts, or when the waiter stops.
   * Rejects with `quota_unavailable` when Redis cannot be listened to, and with what `check` rejects with.
   */
  wait(tenantId: string, jobId: string, options: WaitOptions): Promise<boolean>;
  /** Channels listened to now. */
  readonly channels: number;
}

const START_TIMEOUT_MS = 5_000;

interface Wait {
  readonly ended: Promise<boolean>;
  readonly finish: (settled: boolean) => void;
  readonly fail: (error: unknown) => void;
  /** Looks whether the job has ended already. */
  readonly check: () => void;
  /** Lets go of timer and signal. */
  readonly close: () => void;
}

/** Creates the waiter; it works from `start` on. */
export function createJobWaiter({ url, keyPrefix, logger, startTimeoutMs }: JobWaiterOptions): JobWaiter {
  const waits = new Map<string, Set<Wait>>();
  let redis: Redis | undefined;
  let stopped = false;

  function finishAll(channel: string, settled: boolean): void {
    for (const wait of waits.get(channel) ?? []) wait.finish(settled);
  }

  function open(): Redis {
    // Subscriptions are made anew by `resume`, which then also asks for what was missed.
    const opened = openAny({ url, name: 'sluice-job-waiter', logger }, { autoResubscribe: false });
    opened.on('message', (channel: string) => finishAll(channel, true));
    opened.on('ready', () => resume(opened));
    return opened;
  }

  function resume(opened: Redis): void {
    const channels = [...waits.keys()];
    if (channels.length === 0) return;
    opened.subscribe(...channels).then(
      () => channels.forEach((channel) => waits.get(channel)?.forEach((wait) => wait.check())),
      (error: unknown) => logger.warn({ err: error }, 'could not listen for the ends of jobs again'),
    );
  }

  async function listen(channel: string, wait: Wait): Promise<void> {
    const others = waits.get(channel);
    waits.set(channel, (others ?? new Set<Wait>()).add(wait));
    // n.b. also when others listen already: the reply proves that their subscription is in place.
    await redis?.subscribe(channel);
  }

  function unlisten(channel: string, wait: Wait): void {
    const all = waits.get(channel);
    all?.delete(wait);
    if (!all || all.size > 0) return;
    waits.delete(channel);
    redis?.unsubscribe(channel).catch(() => undefined); // A lost connection has no subscriptions.
  }

  return {
    get channels() {
      return waits.size;
    },

    async start() {
      redis ??= open();
      await redisReady(redis, startTimeoutMs ?? START_TIMEOUT_MS);
    },

    async stop() {
      stopped = true;
      for (const channel of [...waits.keys()]) finishAll(channel, false);
      if (redis) await closeRedis(redis);
    },

    async wait(tenantId, jobId, options) {
      if (stopped || options.signal?.aborted) return false;
      if (!redis) throw new Error('the job waiter was not started');
      const channel = doneChannel(keyPrefix, tenantId, jobId);
      const wait = createWait(options);
      try {
        onRedis(() => listen(channel, wait)).then(wait.check, wait.fail);
        return await wait.ended;
      } finally {
        wait.close();
        unlisten(channel, wait);
      }
    },
  };
}

/** A wait that ends by itself on timeout and abort. */
function createWait({ timeoutMs, signal, check }: WaitOptions): Wait {
  let finish: (settled: boolean) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const ended = new Promise<boolean>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  const giveUp = (): void => finish(false);
  const timer = setTimeout(giveUp, timeoutMs);
  signal?.addEventListener('abort', giveUp, { once: true });
  return {
    ended,
    finish,
    fail,
    check() {
      check?.().then((settled) => settled && finish(true), fail);
    },
    close() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    },
  };
}
