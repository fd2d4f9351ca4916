import type { Random } from '../kernel/types.js';
import { deadLetterOf, isCycle } from './dead-letter.js';
import type { Exchanges } from './exchanges.js';
import type { Entry, Message } from './message.js';
import { createPipeline, type Later, type Pipeline } from './pipeline.js';
import type { DeathReason, Queue } from './queue.js';

/** How long the broker waits before it tries again to move a dead message that no queue takes, as RabbitMQ does. */
const AGAIN_MS = 180_000;

export interface GraveyardOptions {
  readonly exchanges: Exchanges;
  readonly queueNamed: (name: string) => Queue | undefined;
  readonly random: Random;
  /** Unix milliseconds. */
  readonly nowMs: () => number;
  readonly later: Later;
}

/** Moves dead messages to dead-letter exchanges. */
export interface Graveyard {
  /** Dead messages that are not yet where they belong. */
  readonly underWay: number;
  bury(queue: Queue, entry: Entry, reason: DeathReason): void;
  /** The broker starts again: what must not be lost is moved again, perhaps a second time. */
  restart(): void;
}

interface Burial {
  readonly queue: Queue;
  readonly copy: Message;
}

export function createGraveyard({ exchanges, queueNamed, random, nowMs, later }: GraveyardOptions): Graveyard {
  const safe = new Set<Burial>();
  const others = new Set<Burial>();
  const pipelines = new Map<Queue, Pipeline>();

  function pipelineOf(queue: Queue): Pipeline {
    let pipeline = pipelines.get(queue);
    if (pipeline === undefined)
      pipelines.set(queue, (pipeline = createPipeline(later, `rabbitmq: dead letter of ${queue.name}`)));
    return pipeline;
  }

  function begin(burial: Burial): void {
    pipelineOf(burial.queue).run(random.between(0.1, 3), () => move(burial));
  }

  /** With at-least-once the original goes only when the copy is in a queue: a stop in between leaves both. */
  function move(burial: Burial): void {
    const { queue, copy } = burial;
    const taken = deliver(copy);
    if (!queue.settings.deadLettersSafely) others.delete(burial);
    else if (taken) later(random.between(0, 2), `rabbitmq: buried of ${queue.name}`, () => safe.delete(burial));
    else later(AGAIN_MS, `rabbitmq: dead letter of ${queue.name}, again`, () => move(burial));
  }

  /** True when every queue the copy belongs to has taken it. */
  function deliver(copy: Message): boolean {
    let names: readonly string[];
    try {
      names = exchanges.route(copy.exchange, copy.routingKey);
    } catch {
      return false; // the exchange is gone
    }
    const targets = names.filter((name) => !isCycle(copy, name));
    return targets.length > 0 && targets.every((name) => queueNamed(name)?.enqueue(copy) === true);
  }

  return {
    get underWay() {
      return safe.size + others.size;
    },
    bury(queue, entry, reason) {
      if (queue.settings.deadLetterExchange === undefined) return;
      const burial = { queue, copy: deadLetterOf(entry, { queue, reason, nowMs: nowMs() }) };
      (queue.settings.deadLettersSafely ? safe : others).add(burial);
      begin(burial);
    },
    restart() {
      pipelines.clear();
      others.clear();
      for (const burial of safe) begin(burial);
    },
  };
}
