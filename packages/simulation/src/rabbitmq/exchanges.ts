import { notFound, NotSimulated, preconditionFailed } from './broker-error.js';
import { matchesTopic } from './topic-pattern.js';

export interface ExchangeSettings {
  readonly type: string;
  readonly durable: boolean;
  readonly internal: boolean;
  readonly alternate: string | undefined;
}

interface Binding {
  readonly to: 'queue' | 'exchange';
  readonly destination: string;
  readonly key: string;
}

interface Exchange extends ExchangeSettings {
  bindings: readonly Binding[];
}

/** The exchanges of the broker and what is bound to them. */
export interface Exchanges {
  /** Declares one, or checks that it exists as described (406 when not). */
  declare(name: string, settings: ExchangeSettings): void;
  /** Throws 404 when there is none. */
  find(name: string): ExchangeSettings;
  bind(name: string, binding: Binding): void;
  unbind(name: string, binding: Binding): void;
  /** Deletes one, with its bindings; nothing when there is none. */
  delete(name: string): void;
  /** The queue is gone, and its bindings with it. */
  forgetQueue(queue: string): void;
  /** Names of the queues that take a message; throws 404 when the exchange does not exist. */
  route(name: string, key: string): readonly string[];
  /** The broker starts again: what is not durable is gone. */
  restart(): void;
}

const PREDECLARED = { 'amq.direct': 'direct', 'amq.fanout': 'fanout', 'amq.topic': 'topic' };

/** `queueExists` answers for the default exchange, where every queue is bound by its name. */
export function createExchanges(queueExists: (name: string) => boolean): Exchanges {
  const exchanges = new Map<string, Exchange>();
  const routes = new Map<string, readonly string[]>();
  for (const [name, type] of Object.entries(PREDECLARED))
    exchanges.set(name, { type, durable: true, internal: false, alternate: undefined, bindings: [] });

  function get(name: string): Exchange {
    const exchange = exchanges.get(name);
    if (exchange === undefined) throw notFound('exchange', name);
    return exchange;
  }

  /** Adds to `queues` what `name` leads to; every exchange is asked once. */
  function collect(name: string, key: string, found: { queues: Set<string>; visited: Set<string> }): void {
    const exchange = exchanges.get(name);
    if (exchange === undefined || found.visited.has(name)) return;
    found.visited.add(name);
    const matching = exchange.bindings.filter((binding) => takes(exchange.type, binding.key, key));
    for (const { to, destination } of matching) {
      if (to === 'queue') found.queues.add(destination);
      else collect(destination, key, found);
    }
    if (matching.length === 0 && exchange.alternate !== undefined) collect(exchange.alternate, key, found);
  }

  /** What leads to something that does not exist is gone with it. */
  function forget(kind: Binding['to'], name: string): void {
    for (const exchange of exchanges.values())
      exchange.bindings = exchange.bindings.filter(({ to, destination }) => to !== kind || destination !== name);
    routes.clear();
  }

  return {
    declare(name, settings) {
      const { type, durable, internal, alternate } = settings;
      if (!['direct', 'topic', 'fanout'].includes(type)) throw new NotSimulated(`exchanges of type ${type}`);
      const existing = exchanges.get(name);
      if (existing === undefined) exchanges.set(name, { ...settings, bindings: [] });
      else if (
        existing.type !== type ||
        existing.durable !== durable ||
        existing.internal !== internal ||
        existing.alternate !== alternate
      )
        throw preconditionFailed(`inequivalent arg for exchange '${name}'`);
    },
    find: get,
    bind(name, binding) {
      const exchange = get(name);
      if (exchange.bindings.some((other) => isSame(other, binding))) return;
      exchange.bindings = [...exchange.bindings, binding];
      routes.clear();
    },
    unbind(name, binding) {
      const exchange = get(name);
      exchange.bindings = exchange.bindings.filter((other) => !isSame(other, binding));
      routes.clear();
    },
    delete(name) {
      exchanges.delete(name);
      forget('exchange', name);
    },
    forgetQueue: (queue) => forget('queue', queue),
    route(name, key) {
      if (name === '') return queueExists(key) ? [key] : [];
      get(name);
      const route = `${name}\n${key}`;
      let queues = routes.get(route);
      if (queues === undefined) {
        const found = { queues: new Set<string>(), visited: new Set<string>() };
        collect(name, key, found);
        routes.set(route, (queues = [...found.queues]));
      }
      return queues;
    },
    restart() {
      for (const [name, { durable }] of [...exchanges]) {
        if (durable) continue;
        exchanges.delete(name);
        forget('exchange', name);
      }
    },
  };
}

function takes(type: string, pattern: string, key: string): boolean {
  if (type === 'fanout') return true;
  return type === 'topic' ? matchesTopic(pattern, key) : pattern === key;
}

function isSame(one: Binding, other: Binding): boolean {
  return one.to === other.to && one.destination === other.destination && one.key === other.key;
}
