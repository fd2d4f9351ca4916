import type { Kernel, Random } from '../kernel/types.js';
import { notFound } from './broker-error.js';
import { createExchanges, type Exchanges } from './exchanges.js';
import { createGraveyard } from './graveyard.js';
import type { Message } from './message.js';
import { createPipeline, type Later, type Pipeline } from './pipeline.js';
import { createQueue, type Queue } from './queue.js';
import type { QueueSettings } from './queue-settings.js';

/**
 * How long a quorum queue takes to accept a message: mostly nothing worth an event, sometimes a round of its replicas, rarely
 * a stall. n.b. shorter than the afterlife of a connection that decision 7 relies on.
 */
const COMMIT = { atOnce: 0.5, roundMs: [0.1, 3], stallMs: [3, 300] } as const;

/** What the broker keeps, apart from connections. */
export interface Broker {
  readonly kernel: Kernel;
  readonly random: Random;
  readonly exchanges: Exchanges;
  readonly queues: ReadonlyMap<string, Queue>;
  readonly later: Later;
  /** Messages between an exchange and a queue. */
  readonly underWay: number;
  /** Throws 404 when there is none. */
  queue(name: string): Queue;
  addQueue(name: string, settings: QueueSettings, owner: object | undefined): Queue;
  deleteQueue(queue: Queue): void;
  /**
   * Gives a message to a queue, in the order of `from`; `onTaken` is told whether the queue has it, once that is certain.
   * `from` is whoever publishes.
   */
  commit(from: object, queue: Queue, message: Message, onTaken: (taken: boolean) => void): void;
  /** A number that no two connections or names share. */
  nextNumber(): number;
  /** Everything that is under way within the broker is lost. */
  stop(): void;
  /** What survives is there again. */
  start(): void;
}

/** `stallChance`: the part of messages to quorum queues that meet a stall, 0 … 1. */
export function createBroker(kernel: Kernel, stallChance: number): Broker {
  const random = kernel.random.fork('rabbitmq');
  const queues = new Map<string, Queue>();
  const exchanges = createExchanges((name) => queues.has(name));
  let pipelines = new WeakMap<object, Map<Queue, Pipeline>>();
  let run = 0;
  let numbers = 0;
  let committing = 0;

  const later: Later = (delayMs, label, action) => {
    const begun = run;
    kernel.schedule(delayMs, undefined, label, () => {
      if (run === begun) action();
    });
  };

  const graveyard = createGraveyard({
    ...{ exchanges, random, later },
    queueNamed: (name) => queues.get(name),
    nowMs: () => kernel.nowMs,
  });

  function pipelineOf(from: object, queue: Queue): Pipeline {
    let own = pipelines.get(from);
    if (own === undefined) pipelines.set(from, (own = new Map<Queue, Pipeline>()));
    let pipeline = own.get(queue);
    if (pipeline === undefined) own.set(queue, (pipeline = createPipeline(later, `rabbitmq: commit in ${queue.name}`)));
    return pipeline;
  }

  function commitDelayMs(): number {
    const draw = random.next();
    if (draw < COMMIT.atOnce) return 0;
    const [shortest, longest] = draw < 1 - stallChance ? COMMIT.roundMs : COMMIT.stallMs;
    return random.between(shortest, longest);
  }

  function deleteQueue(queue: Queue): void {
    if (queues.get(queue.name) !== queue) return;
    queues.delete(queue.name);
    exchanges.forgetQueue(queue.name);
    queue.delete();
  }

  return {
    ...{ kernel, random, exchanges, queues, later, deleteQueue },
    get underWay() {
      return committing + graveyard.underWay;
    },
    queue(name) {
      const queue = queues.get(name);
      if (queue === undefined) throw notFound('queue', name);
      return queue;
    },
    addQueue(name, settings, owner) {
      const queue = createQueue({
        ...{ name, owner, settings, later },
        nowMs: () => kernel.elapsedMs,
        onDead: (entry, reason) => graveyard.bury(queue, entry, reason),
        onUnused: () => settings.autoDelete && deleteQueue(queue),
      });
      queues.set(name, queue);
      return queue;
    },
    commit(from, queue, message, onTaken) {
      committing += 1;
      pipelineOf(from, queue).run(queue.settings.quorum ? commitDelayMs() : 0, () => {
        committing -= 1;
        // n.b. a queue that was deleted meanwhile counts as one that took it, as with RabbitMQ.
        onTaken(queues.get(queue.name) === queue ? queue.enqueue(message) : true);
      });
    },
    nextNumber: () => ++numbers,
    stop() {
      run += 1;
      committing = 0;
      pipelines = new WeakMap();
    },
    start() {
      exchanges.restart();
      graveyard.restart();
      for (const queue of [...queues.values()]) if (!queue.restart()) deleteQueue(queue);
    },
  };
}
