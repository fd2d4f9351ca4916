import type { Random } from '../../kernel/index.js';
import type { Outage } from '../servers/outages.js';

/** What goes wrong, besides crashes at crash points. Times in milliseconds. */
export type FaultAction =
  | { readonly kind: 'outage'; readonly outage: Outage }
  | { readonly kind: 'losses'; readonly server: 'redis' | 'postgres'; readonly forMs: number; readonly chance: number }
  | { readonly kind: 'redis-flush' }
  | { readonly kind: 'redis-restart'; readonly forMs: number; readonly dataAgeMs: number }
  | { readonly kind: 'redis-clock'; readonly byMs: number }
  | { readonly kind: 'rabbitmq-restart'; readonly forMs: number; readonly how: 'kill' | 'shutdown' }
  | { readonly kind: 'rabbitmq-reset'; readonly of: string | undefined; readonly chance: number }
  | { readonly kind: 'rabbitmq-alarm'; readonly forMs: number }
  | { readonly kind: 'rabbitmq-black-hole'; readonly of: string; readonly forMs: number }
  | { readonly kind: 'pause'; readonly of: string; readonly forMs: number }
  | { readonly kind: 'kill'; readonly of: string }
  | { readonly kind: 'terminate'; readonly of: string }
  | { readonly kind: 'inference-lost'; readonly of: string };

export interface Fault {
  readonly atMs: number;
  readonly action: FaultAction;
}

export type FaultKind = FaultAction['kind'];

type Draw = (random: Random, apps: readonly string[]) => FaultAction;

function spell(random: Random): number {
  return random.pick([random.between(1, 50), random.between(50, 1_500), random.between(1_000, 12_000)]);
}

function outage(random: Random, apps: readonly string[]): FaultAction {
  const only = random.chance(0.25) ? random.pick(apps) : undefined;
  const server = random.pick(['redis', 'postgres'] as const);
  const how = random.pick(['refuse', 'hang'] as const);
  return { kind: 'outage', outage: { server, how, forMs: spell(random), ...(only !== undefined && { only }) } };
}

const DRAWS: readonly (readonly [weight: number, draw: Draw])[] = [
  [3, outage],
  [
    2,
    (random) => ({
      ...{ kind: 'losses', server: random.pick(['redis', 'postgres'] as const) },
      ...{ forMs: random.between(100, 3_000), chance: random.between(0.05, 0.5) },
    }),
  ],
  [4, () => ({ kind: 'redis-flush' })],
  [
    3,
    (random) => ({
      ...{ kind: 'redis-restart', forMs: random.between(1, 2_000) },
      dataAgeMs: random.chance(0.5) ? 0 : random.between(1, 10_000),
    }),
  ],
  [
    1,
    (random) => ({
      kind: 'redis-clock',
      byMs: Math.round(random.pick([-1, 1]) * random.pick([random.between(1, 900), random.between(1_000, 90_000)])),
    }),
  ],
  [
    2,
    (random) => ({
      ...{ kind: 'rabbitmq-restart', forMs: random.between(1, 4_000) },
      how: random.pick(['kill', 'shutdown'] as const),
    }),
  ],
  [
    4,
    (random, apps) => ({
      ...{ kind: 'rabbitmq-reset', of: random.chance(0.6) ? random.pick(apps) : undefined },
      chance: random.pick([0.5, 1]),
    }),
  ],
  [1, (random) => ({ kind: 'rabbitmq-alarm', forMs: random.between(10, 8_000) })],
  [1, (random, apps) => ({ kind: 'rabbitmq-black-hole', of: random.pick(apps), forMs: random.between(100, 20_000) })],
  [3, (random, apps) => ({ kind: 'pause', of: random.pick(apps), forMs: spell(random) })],
  [3, (random, apps) => ({ kind: 'kill', of: random.pick(apps) })],
  [2, (random, apps) => ({ kind: 'terminate', of: random.pick(apps) })],
  [1, (random, apps) => ({ kind: 'inference-lost', of: random.pick(apps.filter((app) => app.startsWith('worker'))) })],
];
const TOTAL_WEIGHT = DRAWS.reduce((sum, [weight]) => sum + weight, 0);

function drawAction(random: Random, apps: readonly string[]): FaultAction {
  let rest = random.between(0, TOTAL_WEIGHT);
  for (const [weight, draw] of DRAWS) {
    rest -= weight;
    if (rest < 0) return draw(random, apps);
  }
  return { kind: 'redis-flush' };
}

export interface FaultOptions {
  readonly apps: readonly string[];
  /** Most faults come at about these moments, when there is something to be lost (milliseconds). */
  readonly burstsAtMs: readonly number[];
  /** All come before this (milliseconds). */
  readonly untilMs: number;
  readonly count: number;
}

/** Faults at any time, most of them in the midst of requests, some in quick succession. */
export function drawFaults(random: Random, { apps, burstsAtMs, untilMs, count }: FaultOptions): readonly Fault[] {
  let atMs = 0;
  return Array.from({ length: count }, () => {
    if (random.chance(0.3)) atMs += random.between(0, 30);
    else if (random.chance(0.2)) atMs = random.between(0, untilMs);
    else atMs = random.pick(burstsAtMs) + random.between(0, random.pick([100, 1_500]));
    return { atMs: Math.min(atMs, untilMs), action: drawAction(random, apps) };
  });
}
