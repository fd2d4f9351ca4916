import type { Fleet } from './apps/fleet.js';
import type { Fault, FaultAction } from './scenario/faults.js';
import type { World } from './world.js';

/** The faults of a run. */
export interface Faults {
  /** How many there were, by kind. */
  readonly counts: Readonly<Record<string, number>>;
  /** To be told of every event: some faults wait for one. */
  onEvent(label: string): void;
}

/** Lets the faults of the scenario happen, until they are healed. */
export function injectFaults(world: World, fleet: Fleet): Faults {
  const { kernel, scenario } = world;
  const counts: Record<string, number> = {};
  const aimed = new Map<string, { fault: Fault; afterMs: number; left: number }[]>();

  function strike({ actions }: Fault, inMs: number): void {
    for (const [afterMs, action] of actions) {
      kernel.schedule(inMs + afterMs, undefined, `fault: ${action.kind}`, () => {
        if (kernel.elapsedMs >= scenario.healAtMs) return;
        counts[action.kind] = (counts[action.kind] ?? 0) + 1;
        perform(world, fleet, action);
      });
    }
  }

  for (const fault of scenario.faults) {
    const { when } = fault;
    if ('atMs' in when) strike(fault, when.atMs);
    else {
      const { aim, afterMs, count: left } = when;
      aimed.set(aim, [...(aimed.get(aim) ?? []), { fault, afterMs, left }]);
    }
  }
  kernel.schedule(scenario.healAtMs, undefined, 'all is healed', () => heal(world));

  return {
    counts,
    onEvent(label) {
      for (const one of aimed.get(label) ?? []) {
        one.left -= 1;
        if (one.left === 0) strike(one.fault, one.afterMs);
      }
    },
  };
}

/** Nothing goes wrong from now on; what is away comes back. */
function heal({ kernel, outages, rabbit }: World): void {
  kernel.crashPoints.close();
  outages.heal();
  rabbit.unblock();
  rabbit.start();
}

function perform(world: World, fleet: Fleet, action: FaultAction): void {
  const { quota, rabbit, outages, kernel } = world;
  switch (action.kind) {
    case 'outage':
      return outages.begin(action.outage);
    case 'losses':
      return outages.loseSome(action.server, action.forMs, action.chance);
    case 'slowness':
      return outages.slow(action.server, action.forMs, action.upToMs);
    case 'redis-flush':
      return quota.flush();
    case 'redis-restart':
      quota.restart(action.dataAgeMs === 0 ? undefined : world.imageOf(action.dataAgeMs));
      return outages.begin({ server: 'redis', forMs: action.forMs, how: 'refuse' });
    case 'redis-clock':
      return world.stepRedisClock(action.byMs);
    case 'rabbitmq-restart':
      return rabbit.restart(action.forMs, action.how);
    case 'rabbitmq-reset': {
      const process = fleet.members.find(({ name }) => name === action.of)?.process;
      return action.of !== undefined && !process ? undefined : rabbit.dropConnections(process, action.chance);
    }
    case 'rabbitmq-alarm':
      rabbit.block();
      return void kernel.schedule(action.forMs, undefined, 'rabbitmq: the alarm ends', () => rabbit.unblock());
    case 'rabbitmq-black-hole': {
      const process = fleet.members.find(({ name }) => name === action.of)?.process;
      return process && rabbit.blackHole(process, action.forMs);
    }
    case 'rabbitmq-cut': {
      const process = fleet.members.find(({ name }) => name === action.of)?.process;
      return process && rabbit.cutOff(process, action.forMs);
    }
    case 'pause':
      return fleet.pause(action.of, action.forMs);
    case 'kill':
      return fleet.kill(action.of);
    case 'terminate':
      return fleet.terminate(action.of);
    case 'inference-lost':
      return fleet.loseInference(action.of);
    default:
      return action satisfies never;
  }
}
