import { RETRY_TIERS } from '@sluice/contracts';
import { delay, type Logger, type Service } from '@sluice/runtime';
import { createBackoff } from './backoff.js';
import type { BrokerConnection } from './connection.js';
import type { Delivery } from './delivery.js';
import { createHeldBytes } from './held-bytes.js';
import { createIntake } from './intake.js';
import type { Received } from './link.js';
import type { Publisher } from './publisher.js';
import { createRelay } from './relay.js';
import { ack, settlementAfterError, type Move, type RetryTier, type Settlement } from './settlement.js';

const IN_PLACE = { firstMs: 200, maxMs: 5_000 };

/** How a message that failed is tried again; see `ConsumerCommon.retries`. */
export type RetryMode = 'tiers' | 'in-place';

export interface Consumer extends Service {
  /** The broker delivers to this consumer. */
  readonly attached: boolean;
  /** Deliveries that were handed out and are not settled. */
  readonly inFlight: number;
  /** When a delivery was last settled, or the consumer created: milliseconds of `performance.now`. */
  readonly lastProgressAtMs: number;
  /**
   * Grows whenever a channel was lost or deliveries were given back. While it stays the same, everything that was
   * delivered here is settled or still here.
   */
  readonly generation: number;
  /**
   * Resolves when everything the broker delivered to this consumer before the call is settled and acknowledged: after a
   * round trip on the consumer's own channel, which brings whatever was on its way. Rejects with `broker_unavailable`
   * when the consumer has no channel or loses it meanwhile. Takes as long as the handler does.
   */
  barrier(): Promise<void>;
}

/** A consumer whose prefetch can be lowered, and raised again. */
export interface AdjustableConsumer extends Consumer {
  /** Deliveries that were settled since the consumer was created. */
  readonly settled: number;
  /**
   * Most deliveries to be held here unsettled from now on, from 1 to the `prefetch` that the consumer was made with. What was delivered
   * stays; for a moment as many as before and as many as now may be held together. What is on its way goes back to its place in the queue
   * and is then `redelivered`, which counts towards the delivery limit. Also holds for channels that are opened later.
   * Resolves when the broker knows, or the channel is lost; one change at a time, each costs three round trips.
   */
  setPrefetch(prefetch: number): Promise<void>;
}

interface ConsumerCommon {
  readonly connection: BrokerConnection;
  /** Publishes copies for retry and dead. */
  readonly publisher: Publisher;
  readonly queue: string;
  /** Most deliveries held here unsettled. */
  readonly prefetch: number;
  /**
   * Most bytes of their bodies, any when absent; one larger body is worked on by itself. What the broker delivers beyond that is neither
   * handed out nor kept: it goes back into the queue when there is room, and is then `redelivered`, which counts towards the delivery limit.
   */
  readonly maxBytes?: number | undefined;
  readonly logger: Logger;
  /**
   * `tiers`: a copy waits in a retry tier and comes back through `jobs` by its routing key; a handler that throws is
   * retried after 5 s, 30 s and 5 min until MAX_ATTEMPTS, then the message is dead. Only for queues that `jobs` feeds.
   * `in-place`: the delivery stays unacknowledged and the handler is called again, after `delayMs` or, when it threw,
   * after 0.2 to 5 s, as often as it takes; the rest waits in the queue meanwhile. The default is `tiers` for work
   * queues (`work.…`) and `in-place` for all others, whose messages `jobs` would bring elsewhere.
   */
  readonly retries?: RetryMode;
  /** The tiers of the contracts when absent. */
  readonly retryTiers?: readonly RetryTier[];
}

export interface ConsumerOptions extends ConsumerCommon {
  /**
   * Works on one delivery; at most `prefetch` run at once. `signal` aborts when the channel is lost: the broker will
   * then deliver the message again and the settlement of this call counts for nothing.
   */
  readonly handler: (delivery: Delivery, signal: AbortSignal) => Promise<Settlement>;
}

export interface BatchConsumerOptions extends ConsumerCommon {
  /** Most deliveries in a batch; at most `prefetch`. */
  readonly maxBatch: number;
  /** How long the first delivery of a batch waits for others, in milliseconds. */
  readonly lingerMs: number;
  /** Batches in progress at once; 1 when absent. */
  readonly concurrency?: number;
  /** Works on some deliveries and returns as many settlements, in the same order. */
  readonly handler: (deliveries: readonly Delivery[]) => Promise<readonly Settlement[]>;
}

/** Consumes a queue one delivery at a time, up to `prefetch` of them side by side. See `createBatchConsumer`. */
export function createConsumer(options: ConsumerOptions): AdjustableConsumer {
  const { handler, prefetch, ...common } = options;
  return consume({
    ...common,
    prefetch,
    maxBatch: 1,
    lingerMs: 0,
    concurrency: prefetch,
    handler: async ([delivery], signal) => (delivery ? [await handler(delivery, signal)] : []),
  });
}

/**
 * Consumes a queue in batches: of `maxBatch` deliveries, or fewer once the first has waited `lingerMs`. Acks of
 * neighbours go out as one frame.
 *
 * The channel is opened again after every loss. `stop` takes no more deliveries, gives those not handed out back to
 * the queue, waits until those handed out are settled and acknowledged, and closes the channel.
 */
export function createBatchConsumer(options: BatchConsumerOptions): Consumer {
  return consume(options);
}

interface ConsumeOptions extends Omit<BatchConsumerOptions, 'handler'> {
  readonly handler: (deliveries: readonly Delivery[], signal: AbortSignal) => Promise<readonly Settlement[]>;
}

function consume(options: ConsumeOptions): AdjustableConsumer {
  const { publisher, queue, prefetch, lingerMs, concurrency = 1, handler, retryTiers = RETRY_TIERS } = options;
  const { retries = queue.startsWith('work.') ? 'tiers' : 'in-place' } = options;
  const maxBatch = Math.min(options.maxBatch, prefetch);
  const heldBytes = createHeldBytes(options.maxBytes ?? Infinity);
  const logger = options.logger.child({ queue });
  const relay = createRelay({ publisher, retryTiers, logger });
  const halt = new AbortController();
  const idleWaiters: (() => void)[] = [];
  let waiting: Received[] = [];
  let lingered = false;
  let linger: NodeJS.Timeout | undefined;
  let running = 0;
  let inFlight = 0;
  let settled = 0;
  let lastProgressAtMs = performance.now();
  let stopping: Promise<void> | undefined;

  const intake = createIntake({
    connection: options.connection,
    queue,
    prefetch,
    logger,
    halt: halt.signal,
    onDelivery(received) {
      if (!heldBytes.take(received)) return;
      waiting.push(received);
      handOut();
    },
    onLost(link) {
      heldBytes.forget(link);
      heldBytes.release(waiting.filter((received) => received.link === link));
      waiting = waiting.filter((received) => received.link !== link);
    },
  });

  function handOut(): void {
    if (halt.signal.aborted) return;
    while (running < concurrency && (waiting.length >= maxBatch || (lingered && waiting.length > 0))) {
      lingered = false;
      void run(waiting.splice(0, maxBatch));
    }
    if (waiting.length > 0 && !lingered && linger === undefined) linger = setTimeout(onLingered, lingerMs);
  }

  function onLingered(): void {
    linger = undefined;
    lingered = true;
    handOut();
  }

  async function run(batch: readonly Received[]): Promise<void> {
    running += 1;
    inFlight += batch.length;
    await work(batch);
    running -= 1;
    inFlight -= batch.length;
    heldBytes.release(batch);
    if (running === 0) for (const resolve of idleWaiters.splice(0)) resolve();
    handOut();
  }

  /** Calls the handler until every delivery of the batch is settled, lost or given back. */
  async function work(batch: readonly Received[]): Promise<void> {
    const backoff = createBackoff(IN_PLACE);
    const link = batch[0]?.link;
    let open = batch;
    while (link !== undefined && open.length > 0 && !link.lost.aborted) {
      const round = open;
      const settlements = await settlementsOf(round, link.lost, backoff.next());
      const { done, held, moves } = sort(round, settlements);
      link.acknowledge(done);
      if (moves.length > 0) await Promise.all(moves);
      if (held.length < round.length) lastProgressAtMs = performance.now();
      settled += round.length - held.length;
      open = held;
      if (held.length === 0) return;
      await delay(Math.max(...settlements.map(delayOf)), link.over);
      if (halt.signal.aborted) return link.giveBack(held);
    }
  }

  async function settlementsOf(
    round: readonly Received[],
    lost: AbortSignal,
    backoffMs: number,
  ): Promise<readonly Settlement[]> {
    try {
      const settlements = await handler(
        round.map((received) => received.delivery),
        lost,
      );
      if (settlements.length === round.length) return settlements;
      throw new TypeError(`The handler settled ${settlements.length} of ${round.length} deliveries.`);
    } catch (error) {
      if (!lost.aborted) logger.error({ err: error, deliveries: round.length }, 'the handler failed');
      if (retries === 'in-place') return round.map(() => ({ kind: 'retry', delayMs: backoffMs }));
      return round.map((received) => settlementAfterError(received.delivery.attempt, retryTiers));
    }
  }

  /** Who is done, who waits here for another call, and the copies under way for all others. */
  function sort(
    round: readonly Received[],
    settlements: readonly Settlement[],
  ): { done: Received[]; held: Received[]; moves: Promise<void>[] } {
    const done: Received[] = [];
    const held: Received[] = [];
    const moves: Promise<void>[] = [];
    round.forEach((received, index) => {
      const settlement = settlements[index] ?? ack;
      if (settlement.kind === 'ack') done.push(received);
      else if (settlement.kind === 'retry' && retries === 'in-place') held.push(received);
      else moves.push(move(received, settlement));
    });
    return { done, held, moves };
  }

  /** Publishes the copy that a settlement asks for, then acknowledges the original. */
  async function move(received: Received, settlement: Move): Promise<void> {
    const { delivery, link } = received;
    if (link.lost.aborted) return;
    if (await relay.move(delivery, settlement, link.over)) link.acknowledge([received]);
    else link.giveBack([received]);
  }

  async function stop(): Promise<void> {
    halt.abort();
    clearTimeout(linger);
    await intake.cancel();
    const untouched = waiting;
    waiting = [];
    for (const received of untouched) received.link.giveBack([received]);
    heldBytes.giveBackAll();
    if (running > 0) await new Promise<void>((resolve) => idleWaiters.push(resolve));
    await intake.stop();
  }

  return {
    get attached() {
      return intake.attached;
    },
    get inFlight() {
      return inFlight;
    },
    get settled() {
      return settled;
    },
    get lastProgressAtMs() {
      return lastProgressAtMs;
    },
    get generation() {
      return intake.generation;
    },
    setPrefetch: (wanted) => intake.setPrefetch(Math.max(1, Math.min(prefetch, Math.round(wanted)))),
    barrier: () => intake.barrier(),
    start: () => intake.start(),
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

function delayOf(settlement: Settlement): number {
  return settlement.kind === 'retry' ? settlement.delayMs : 0;
}
