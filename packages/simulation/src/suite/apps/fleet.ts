import type { Random, SimProcess } from '../../kernel/index.js';
import type { Gateway } from '@sluice/api-gateway/composition';
import { kindOf, type RunningApp } from './app.js';
import { DRAIN_TIMEOUT_MS } from './settings.js';
import { startApp, type StartOptions } from './start.js';

/** One program of the suite, whichever process it runs in now. */
export interface Member {
  readonly name: string;
  process: SimProcess | undefined;
  /** Started, and not told to end: a load balancer sends requests to it. */
  ready: boolean;
  running: RunningApp | undefined;
}

/** All programs of the suite, and the supervisor that starts what has ended. */
export interface Fleet {
  readonly members: readonly Member[];
  /** Every program runs, and none is ending. */
  readonly complete: boolean;
  start(): void;
  kill(name: string): void;
  pause(name: string, forMs: number): void;
  /** As SIGTERM: it ends by itself, or is killed when that takes too long. */
  terminate(name: string): void;
  loseInference(name: string): void;
  /** The gateways that take requests now. */
  gateways(): readonly { readonly process: SimProcess; readonly gateway: Gateway }[];
}

const RESTART_MS = { from: 50, to: 2_500 } as const;

export function createFleet(options: StartOptions): Fleet {
  const { kernel, scenario, random: worldRandom } = options.world;
  const random: Random = worldRandom.fork('fleet');
  const members = scenario.apps.map((name): Member => {
    return { name, process: undefined, ready: false, running: undefined };
  });

  async function boot(member: Member, process: SimProcess): Promise<void> {
    try {
      const running = await startApp(options, process);
      if (member.process !== process) return;
      member.running = running;
      await running.lifecycle.start();
      member.ready = running.lifecycle.state === 'running';
    } catch {
      // As a program does that cannot start: it ends, and is started again.
      process.kill();
    }
  }

  function start(member: Member): void {
    const process = kernel.process(member.name);
    process.clockOffsetMs = scenario.clockOffsetMs[member.name] ?? 0;
    member.process = process;
    process.onKilled(() => {
      Object.assign(member, { process: undefined, ready: false, running: undefined });
      const delayMs = random.between(RESTART_MS.from, RESTART_MS.to);
      kernel.schedule(delayMs, undefined, `supervisor: starts ${member.name}`, () => start(member));
    });
    kernel.enter(process, 'main', () => void boot(member, process));
  }

  function memberOf(name: string): Member {
    const member = members.find((one) => one.name === name);
    if (!member) throw new RangeError(`nothing is called ${name}`);
    return member;
  }

  return {
    members,
    get complete() {
      return members.every(({ ready }) => ready);
    },
    start() {
      for (const member of members) start(member);
    },
    kill: (name) => memberOf(name).process?.kill(),
    pause: (name, forMs) => memberOf(name).process?.pause(forMs),
    terminate(name) {
      const member = memberOf(name);
      const { process, running } = member;
      if (!process || !running) return process?.kill();
      member.ready = false;
      const end = (): void => process.kill();
      kernel.enter(process, 'SIGTERM', () => void running.lifecycle.stop().then(end, end));
      kernel.schedule(DRAIN_TIMEOUT_MS, undefined, `supervisor: ${name} must have ended`, end);
    },
    loseInference(name) {
      const { process, running } = memberOf(name);
      if (process && running?.inference) {
        const { inference } = running;
        kernel.enter(process, 'an inference process ends', () => inference.loseOne());
      }
    },
    gateways() {
      return members.flatMap(({ name, process, ready, running }) => {
        if (kindOf(name) !== 'gateway' || !ready || !process || !running?.gateway) return [];
        return [{ process, gateway: running.gateway }];
      });
    },
  };
}
