import { plain, type Properties, type Table } from './frames.js';
import type { Entry, Message } from './message.js';
import type { DeathReason, Queue } from './queue.js';

interface Death {
  readonly count: number;
  readonly reason: string;
  readonly queue: string;
  readonly time: unknown;
  readonly exchange: string;
  readonly 'routing-keys': readonly string[];
  readonly 'original-expiration'?: string;
}

/** The copy of a dead message that goes to the dead-letter exchange of `queue`. Times are Unix milliseconds. */
export function deadLetterOf(entry: Entry, { queue, reason, nowMs }: DeathCircumstances): Message {
  const { deadLetterExchange = '', deadLetterKey } = queue.settings;
  const { exchange, routingKey, content } = entry.message;
  const { expiration, ...properties } = content.properties;
  const death: Death = {
    count: 1,
    reason,
    queue: queue.name,
    time: { '!': 'timestamp', value: Math.floor(nowMs / 1000) },
    exchange,
    'routing-keys': [routingKey],
    ...(expiration !== undefined && { 'original-expiration': expiration }),
  };
  const headers = withDeath(plain(properties.headers), death);
  // n.b. a message that died once must not expire again in the next queue, whatever it died of.
  const copy: Properties = { ...properties, headers };
  return {
    exchange: deadLetterExchange,
    routingKey: deadLetterKey ?? routingKey,
    content: { properties: copy, body: content.body },
  };
}

export interface DeathCircumstances {
  readonly queue: Queue;
  readonly reason: DeathReason;
  readonly nowMs: number;
}

/** The newest death comes first; one of the same queue and reason counts on. */
function withDeath(headers: Table, death: Death): Table {
  const deaths = deathsIn(headers);
  const known = deaths.find((other) => isSame(other, death));
  const rest = deaths.filter((other) => other !== known);
  const counted = known === undefined ? death : { ...known, count: known.count + 1 };
  return {
    'x-first-death-exchange': death.exchange,
    'x-first-death-queue': death.queue,
    'x-first-death-reason': death.reason,
    ...headers,
    'x-death': [counted, ...rest],
  };
}

/** Whether a message that has died would come back to a queue where it has died before, with nobody having refused it. */
export function isCycle(message: Message, queue: string): boolean {
  const deaths = deathsIn(message.content.properties.headers ?? {});
  const last = deaths.findIndex((death) => death.queue === queue);
  return last >= 0 && deaths.slice(0, last + 1).every((death) => death.reason !== 'rejected');
}

function deathsIn(headers: Table): readonly Death[] {
  const deaths = headers['x-death'];
  return Array.isArray(deaths) ? (deaths as readonly Death[]) : [];
}

function isSame(one: Death, other: Death): boolean {
  return one.queue === other.queue && one.reason === other.reason;
}
