import type { Random } from '../kernel/types.js';
import type { Later } from './pipeline.js';

export interface ConfirmsOptions {
  readonly random: Random;
  readonly later: Later;
  readonly send: (method: 'BasicAck' | 'BasicNack', fields: { deliveryTag: number; multiple: boolean }) => void;
}

/** The publishes of one channel that the broker has not answered. */
export interface Confirms {
  /** The number of the next publish: 1, 2, 3 … */
  next(): number;
  /** The fate of a publish is sealed: its answer goes out now or, together with others, in a moment. */
  seal(tag: number, accepted: boolean): void;
}

/**
 * Answers publishes as RabbitMQ does: what came together goes out together, with `multiple` as far as nothing below is
 * open, and one by one above that.
 */
export function createConfirms({ random, later, send }: ConfirmsOptions): Confirms {
  const open = new Set<number>();
  let accepted: number[] = [];
  let refused: number[] = [];
  let highest = 0;
  let flushing = false;

  function flush(): void {
    flushing = false;
    const [acks, nacks] = [accepted.sort(ascending), refused.sort(ascending)];
    accepted = [];
    refused = [];
    sendAll('BasicNack', nacks, acks[0]);
    sendAll('BasicAck', acks, nacks[0]);
  }

  /** `multiple` speaks for every lower tag, so it must stay below what is open and below the other kind. */
  function sendAll(method: 'BasicAck' | 'BasicNack', tags: readonly number[], others = Infinity): void {
    const [lowestOpen = Infinity] = open; // in the order of the tags
    const covered = tags.length > 1 ? tags.filter((tag) => tag < lowestOpen && tag < others) : [];
    const last = covered.at(-1);
    if (last !== undefined) send(method, { deliveryTag: last, multiple: true });
    for (const tag of tags.slice(covered.length)) send(method, { deliveryTag: tag, multiple: false });
  }

  return {
    next() {
      highest += 1;
      open.add(highest);
      return highest;
    },
    seal(tag, isAccepted) {
      open.delete(tag);
      (isAccepted ? accepted : refused).push(tag);
      if (flushing) return;
      if (random.chance(0.5)) return flush();
      flushing = true;
      later(random.between(0, 1), 'rabbitmq: confirms', flush);
    },
  };
}

function ascending(one: number, other: number): number {
  return one - other;
}
