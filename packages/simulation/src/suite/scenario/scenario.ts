import type { PlansFile } from '@sluice/contracts';
import type { Random } from '../../kernel/index.js';
import { drawFaults, longOutage, type Fault, type FaultAction } from './faults.js';
import { drawPrices, type SimPrice } from './prices.js';
import { drawRequests, type SimRequest } from './requests.js';
import { drawTenants, type SimTenant } from './tenants.js';

/** All that a seed decides before anything happens. */
export interface Scenario {
  readonly tenants: readonly SimTenant[];
  readonly plans: PlansFile;
  readonly prices: readonly SimPrice[];
  /** Names of the apps: `gateway-1`, … */
  readonly apps: readonly string[];
  /** By how much the clock of each app is wrong, in milliseconds. */
  readonly clockOffsetMs: Readonly<Record<string, number>>;
  /** By how much the clocks of the servers are ahead of the true time, in milliseconds. */
  readonly serverOffsetMs: { readonly redis: number; readonly postgres: number };
  readonly requests: readonly SimRequest[];
  readonly faults: readonly Fault[];
  /** Crash points at which to kill. */
  readonly crashPoints: readonly number[];
  /** Parts of the runs of inference that go wrong. */
  readonly inference: { readonly failChance: number; readonly crashChance: number; readonly longChance: number };
  /** When faults end and the suite is left alone, in milliseconds. */
  readonly healAtMs: number;
}

const HEAL_AT_MS = 14_000;
/** Of the runs in which PostgreSQL is away for minutes. */
const LONG_HEAL_AT_MS = 620_000;
const LONG_CHANCE = 0.03;
const LAST_BURST_MS = 9_000;
/** About how many crash points there are from one moment to another in the midst of a run. */
const CRASH_POINTS = 2_000;
/** About how many of them there are until everything has started. */
const STARTED = 500;
const SERVER_SKEW_MS = 5_000;
const APP_SKEW_MS = 4_000_000;

/** All that is to go wrong. */
export function actionsOf({ faults }: Scenario): readonly FaultAction[] {
  return faults.flatMap(({ actions }) => actions.map(([, action]) => action));
}

/** When a run begins: at noon, or so that a day, or a month, ends in its midst, in one zone or the other. */
export function drawStart(random: Random): number {
  const beforeMs = Math.floor(random.between(1_000, 12_000));
  return random.pick([
    Date.UTC(2026, 4, 13, 12),
    Date.UTC(2026, 4, 14) - beforeMs,
    Date.UTC(2026, 5, 1) - beforeMs,
    Date.UTC(2026, 4, 14) - 19_800_000 - beforeMs,
  ]);
}

/** The world of a seed. */
export function drawScenario(random: Random, startMs: number): Scenario {
  const { tenants, plans } = drawTenants(random.fork('tenants'));
  const apps = appNames(random);
  // The suite has started after some 100 ms.
  const burstsAtMs = Array.from({ length: 1 + random.int(4) }, () => random.between(150, LAST_BURST_MS));
  const violence = random.pick(['calm', 'usual', 'usual', 'violent'] as const);
  const faults = { calm: random.int(2), usual: 1 + random.int(4), violent: 4 + random.int(5) }[violence];
  const crashes = { calm: 0, usual: random.int(3), violent: 1 + random.int(4) }[violence];
  const isLong = random.chance(LONG_CHANCE);
  const skewed = random.chance(0.3);
  const inferenceTrouble = random.chance(0.4) ? 1 : 0;
  return {
    ...{ tenants, plans, apps },
    healAtMs: isLong ? LONG_HEAL_AT_MS : HEAL_AT_MS,
    prices: drawPrices(random.fork('prices'), startMs),
    clockOffsetMs: Object.fromEntries(
      apps.map((app) => [app, skewed ? Math.floor(random.between(-APP_SKEW_MS, APP_SKEW_MS)) : 0]),
    ),
    serverOffsetMs: {
      redis: skewed ? Math.floor(random.between(-SERVER_SKEW_MS, SERVER_SKEW_MS)) : 0,
      postgres: skewed ? Math.floor(random.between(-SERVER_SKEW_MS, SERVER_SKEW_MS)) : 0,
    },
    requests: drawRequests(random.fork('requests'), { tenants, burstsAtMs, count: 2 + random.int(6) }),
    faults: [
      ...drawFaults(random.fork('faults'), { apps, burstsAtMs, untilMs: HEAL_AT_MS - 200, count: faults }),
      ...(isLong ? [longOutage(random.fork('long outage'), burstsAtMs)] : []),
    ],
    crashPoints: Array.from({ length: crashes }, () => (random.chance(0.2) ? 0 : STARTED) + random.int(CRASH_POINTS)),
    inference: {
      failChance: 0.03 * inferenceTrouble,
      crashChance: 0.04 * inferenceTrouble,
      longChance: random.pick([0, 0, 0.1, 0.5]),
    },
  };
}

function appNames(random: Random): readonly string[] {
  const of = (kind: string, count: number): readonly string[] =>
    Array.from({ length: count }, (_, index) => `${kind}-${index + 1}`);
  // A run with one of each goes other ways, and costs less.
  const [gateways, collectors, workers] = [random.pick([1, 2]), random.pick([1, 2]), random.pick([1, 1, 2])];
  return [...of('gateway', gateways), ...of('collector', collectors), ...of('worker', workers)];
}
