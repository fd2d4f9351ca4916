import type { Latency, Owner, Random, ServerOptions } from './types.js';

/** When messages between processes and servers arrive. */
export interface Wires {
  server(name: string, options: ServerOptions): void;
  /** Microseconds that one message takes; at least 1. */
  delayUs(latency?: Latency): number;
  /** When a request arrives that is sent now. */
  request(from: Owner, server: string, nowUs: number): number;
  /** When its answer is back, if it is sent now; `extraUs` later than others. */
  answer(from: Owner, server: string, nowUs: number, extraUs: number): number;
}

/** The last arrivals on an ordered connection. */
interface Wire {
  requestUs: number;
  answerUs: number;
}

export function createWires(random: Random, latency: Latency): Wires {
  const servers = new Map<string, ServerOptions>();
  const world = {};
  const wires = new Map<string, WeakMap<object, Wire>>();

  function delayUs({ typicalMs, longMs, longChance }: Latency = latency): number {
    const ms = random.chance(longChance) ? random.between(typicalMs, longMs) : random.between(0.2, 1.8) * typicalMs;
    return 1 + Math.round(ms * 1000);
  }

  function wireOf(from: Owner, server: string): Wire | undefined {
    const ofServer = wires.get(server);
    if (!ofServer) return undefined;
    let wire = ofServer.get(from ?? world);
    if (!wire) ofServer.set(from ?? world, (wire = { requestUs: 0, answerUs: 0 }));
    return wire;
  }

  return {
    server(name, options) {
      servers.set(name, options);
      if (options.ordered) wires.set(name, new WeakMap());
      else wires.delete(name);
    },
    delayUs,
    request(from, server, nowUs) {
      const timeUs = nowUs + delayUs(servers.get(server)?.latency);
      const wire = wireOf(from, server);
      return wire ? (wire.requestUs = Math.max(timeUs, wire.requestUs)) : timeUs;
    },
    answer(from, server, nowUs, extraUs) {
      const timeUs = nowUs + delayUs(servers.get(server)?.latency) + extraUs;
      const wire = wireOf(from, server);
      return wire ? (wire.answerUs = Math.max(timeUs, wire.answerUs)) : timeUs;
    },
  };
}
