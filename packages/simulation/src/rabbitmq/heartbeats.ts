import type { Kernel } from '../kernel/types.js';
import type { Link } from './link.js';

/** Lets the broker notice clients that have fallen silent, with one event per heartbeat for all connections. */
export interface Heartbeats {
  /** There is a connection to watch. */
  watch(): void;
}

export function createHeartbeats(kernel: Kernel, links: ReadonlySet<Link>): Heartbeats {
  /** By heartbeat, in milliseconds. */
  const watching = new Set<number>();

  function beat(everyMs: number): void {
    const own = [...links].filter(({ heartbeatMs }) => heartbeatMs === everyMs);
    for (const link of own) link.beat();
    if (own.length === 0) watching.delete(everyMs);
    else schedule(everyMs);
  }

  function schedule(everyMs: number): void {
    kernel.schedule(everyMs, undefined, 'rabbitmq: heartbeats', () => beat(everyMs));
  }

  return {
    watch() {
      for (const { heartbeatMs } of links) {
        if (heartbeatMs === 0 || watching.has(heartbeatMs)) continue;
        watching.add(heartbeatMs);
        schedule(heartbeatMs);
      }
    },
  };
}
