import { CannotInject, NOTHING_TO_HEAL, type FaultKind } from '../fault.js';
import { inferencePids } from './inference-pids.js';

/** kill -9 of one inference process; its worker starts another by itself. */
export const killInference: FaultKind = {
  name: 'kill inference process',
  weight: 6,
  targets: ({ workers }) => workers,
  durationMs: [0, 0],
  async inject({ app }, { target, random }) {
    send(random.pick(await inferencePids(app(target))), 'SIGKILL');
    return NOTHING_TO_HEAL;
  },
};

/** One inference process stands still; its worker may end it before it goes on. */
export const pauseInference: FaultKind = {
  name: 'pause inference process',
  weight: 4,
  targets: ({ workers }) => workers,
  durationMs: [200, 8_000],
  async inject({ app }, { target, random }) {
    const worker = app(target);
    const pid = random.pick(await inferencePids(worker));
    send(pid, 'SIGSTOP');
    return async () => {
      const still = await inferencePids(worker).catch((): readonly number[] => []);
      if (still.includes(pid)) send(pid, 'SIGCONT');
    };
  },
};

/** An app stands still, longer than some of its deadlines; its connections stay open. */
export const pauseApp: FaultKind = {
  name: 'pause app',
  weight: 10,
  targets: ({ gateways, workers, collectors }) => [...gateways, ...workers, ...collectors],
  durationMs: [200, 8_000],
  async inject({ app }, { target }) {
    const victim = app(target);
    if (!victim.signal('SIGSTOP')) throw new CannotInject(`${target} does not run`);
    return async () => void victim.signal('SIGCONT');
  },
};

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    throw new CannotInject(`process ${pid} is gone`, { cause: error });
  }
}
