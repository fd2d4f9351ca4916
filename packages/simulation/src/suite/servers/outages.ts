import type { CallFault, CallView, Kernel, Random } from '../../kernel/index.js';

/** What can be away, as the labels of its requests name it. */
export type ServerName = 'redis' | 'postgres';

/** The connection was lost, or nobody answered: whether the request was done is not known to the caller. */
export class ServerLost extends Error {
  override readonly name = 'ServerLost';
}

/** How a server is away. `refuse`: its host answers at once that nobody listens. `hang`: nothing answers. */
export type Away = 'refuse' | 'hang';

export interface Outage {
  readonly server: ServerName;
  readonly forMs: number;
  readonly how: Away;
  /** The one process that is cut off; every one when absent. */
  readonly only?: string;
}

/** When a caller gives up, in milliseconds: as the connections of the apps are set up. */
const DEADLINE_MS: Readonly<Record<ServerName, number>> = { redis: 2_000, postgres: 7_000 };

/** Decides what becomes of requests while their server is away or the network is bad. */
export interface Outages {
  isAway(server: ServerName, from: string): boolean;
  begin(outage: Outage): void;
  /** For so long (milliseconds) a part of the requests, or of their answers, is lost. */
  loseSome(server: ServerName, forMs: number, chance: number): void;
  /** For so long (milliseconds) answers take up to so much longer. */
  slow(server: ServerName, forMs: number, upToMs: number): void;
  /** How much later than usual an answer arrives now, in milliseconds. */
  latenessMs(server: ServerName): number;
  /** Ends all of it. */
  heal(): void;
  /** Hears of outages that begin: connections are lost. */
  onAway(listener: (outage: Pick<Outage, 'server' | 'only'>) => void): void;
}

export function createOutages(kernel: Kernel, random: Random): Outages {
  const outages = new Set<Outage & { readonly untilMs: number }>();
  const losses = new Map<ServerName, { readonly untilMs: number; readonly chance: number }>();
  const slowness = new Map<ServerName, { readonly untilMs: number; readonly upToMs: number }>();
  const listeners: ((outage: Pick<Outage, 'server' | 'only'>) => void)[] = [];

  function current(server: string, from: string): Outage | undefined {
    for (const outage of outages) {
      if (outage.untilMs <= kernel.elapsedMs) outages.delete(outage);
      else if (outage.server === server && (outage.only ?? from) === from) return outage;
    }
    return undefined;
  }

  function decide({ server: name, from }: CallView): CallFault | undefined {
    const server = name as ServerName;
    const outage = current(server, from?.name ?? '');
    if (outage) return { effect: false, ...lost(server, outage.how) };
    const loss = losses.get(server);
    if (!loss || loss.untilMs <= kernel.elapsedMs || !random.chance(loss.chance)) return undefined;
    return { effect: random.chance(0.6), ...lost(server, random.chance(0.7) ? 'refuse' : 'hang') };
  }

  kernel.onCall(decide);
  return {
    isAway: (server, from) => current(server, from) !== undefined,
    begin(outage) {
      outages.add({ ...outage, untilMs: kernel.elapsedMs + outage.forMs });
      for (const listener of listeners) listener(outage);
    },
    loseSome: (server, forMs, chance) => void losses.set(server, { untilMs: kernel.elapsedMs + forMs, chance }),
    slow: (server, forMs, upToMs) => void slowness.set(server, { untilMs: kernel.elapsedMs + forMs, upToMs }),
    latenessMs(server) {
      const spell = slowness.get(server);
      return spell && spell.untilMs > kernel.elapsedMs ? random.between(0, spell.upToMs) : 0;
    },
    heal() {
      outages.clear();
      losses.clear();
      slowness.clear();
    },
    onAway: (listener) => void listeners.push(listener),
  };
}

function lost(server: ServerName, how: Away): Pick<CallFault, 'error' | 'delayMs'> {
  return { error: new ServerLost(`${server} was lost`), delayMs: how === 'hang' ? DEADLINE_MS[server] : 0 };
}
