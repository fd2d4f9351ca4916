import type { Cast, FaultKind } from '../fault.js';

const DOWN_MS = [100, 4_000] as const;

function killing(name: string, weight: number, targets: (cast: Cast) => readonly string[]): FaultKind {
  return {
    name,
    weight,
    targets,
    durationMs: DOWN_MS,
    async inject({ app, keeper }, { target }) {
      const victim = app(target);
      keeper.take(victim);
      await victim.kill();
      return () => keeper.giveBack(victim);
    },
  };
}

/** kill -9 of one app; it is started again when the fault is over. */
export const killGateway = killing('kill gateway', 6, ({ gateways }) => gateways);
export const killWorker = killing('kill worker', 5, ({ workers }) => workers);
export const killCollector = killing('kill collector', 6, ({ collectors }) => collectors);

/** SIGTERM in the midst of work; started again when it has drained and the fault is over. */
export const restartApp: FaultKind = {
  name: 'restart app',
  weight: 4,
  targets: ({ gateways, workers, collectors }) => [...gateways, ...workers, ...collectors],
  durationMs: [0, 1_000],
  async inject({ app, keeper }, { target }) {
    const victim = app(target);
    keeper.take(victim);
    const stopped = victim.stop();
    return async () => {
      await stopped;
      await keeper.giveBack(victim);
    };
  },
};
