import type { Random } from '../../kernel/index.js';
import type { Outage, ServerName } from '../servers/outages.js';

/** What goes wrong, besides crashes at crash points. Times in milliseconds. */
export type FaultAction =
  | { readonly kind: 'outage'; readonly outage: Outage }
  | { readonly kind: 'losses'; readonly server: ServerName; readonly forMs: number; readonly chance: number }
  | { readonly kind: 'slowness'; readonly server: ServerName; readonly forMs: number; readonly upToMs: number }
  | { readonly kind: 'redis-flush' }
  | { readonly kind: 'redis-restart'; readonly forMs: number; readonly dataAgeMs: number }
  | { readonly kind: 'redis-clock'; readonly byMs: number }
  | { readonly kind: 'rabbitmq-restart'; readonly forMs: number; readonly how: 'kill' | 'shutdown' }
  | { readonly kind: 'rabbitmq-reset'; readonly of: string | undefined; readonly chance: number }
  | { readonly kind: 'rabbitmq-alarm'; readonly forMs: number }
  | { readonly kind: 'rabbitmq-black-hole'; readonly of: string; readonly forMs: number }
  | { readonly kind: 'rabbitmq-cut'; readonly of: string; readonly forMs: number }
  | { readonly kind: 'pause'; readonly of: string; readonly forMs: number }
  | { readonly kind: 'kill'; readonly of: string }
  | { readonly kind: 'terminate'; readonly of: string }
  | { readonly kind: 'inference-lost'; readonly of: string };

/** When a fault strikes: at a time, or shortly after the `count`th event whose label is `aim`. */
export type FaultMoment =
  { readonly atMs: number } | { readonly aim: string; readonly count: number; readonly afterMs: number };

export interface Fault {
  readonly when: FaultMoment;
  /** What happens, each so long after the moment (milliseconds). */
  readonly actions: readonly (readonly [afterMs: number, action: FaultAction])[];
}

/** Events at which much is at stake. */
const AIMS = [
  ...['redis: reserve', 'answer of redis: reserve', 'redis: settle', 'answer of redis: settle', 'redis: commit'],
  ...['redis: begin', 'answer of postgres: quotaFacts', 'postgres: recordFacts', 'answer of postgres: recordFacts'],
  ...['rabbitmq: confirms', 'rabbitmq: commit in results', 'answer of redis: begin'],
] as const;
const MOST_EVENTS_AIMED_AT = 12;

type Draw = (random: Random, apps: readonly string[]) => FaultAction;

function spell(random: Random): number {
  return random.pick([random.between(1, 50), random.between(50, 1_500), random.between(1_000, 12_000)]);
}

function serverIn(random: Random): ServerName {
  return random.pick(['redis', 'postgres'] as const);
}

function outage(random: Random, apps: readonly string[]): FaultAction {
  const only = random.chance(0.25) ? random.pick(apps) : undefined;
  const how = random.pick(['refuse', 'hang'] as const);
  const outage: Outage = { server: serverIn(random), how, forMs: spell(random), ...(only !== undefined && { only }) };
  return { kind: 'outage', outage };
}

const losses: Draw = (random) => {
  return {
    kind: 'losses',
    server: serverIn(random),
    forMs: random.between(50, 3_000),
    chance: random.between(0.05, 0.8),
  };
};

const slowness: Draw = (random) => {
  const forMs = random.between(100, 3_000);
  return { kind: 'slowness', server: serverIn(random), forMs, upToMs: random.between(50, 1_900) };
};

const redisRestart: Draw = (random) => {
  const dataAgeMs = random.chance(0.3) ? 0 : random.between(1, 6_000);
  return { kind: 'redis-restart', forMs: random.between(1, 2_000), dataAgeMs };
};

const redisClock: Draw = (random) => {
  // Once in a while beyond the time that holds live.
  const leapMs = random.chance(0.2) ? random.between(250_000, 700_000) : undefined;
  const byMs = leapMs ?? random.pick([-1, 1]) * random.pick([random.between(1, 900), random.between(1_000, 90_000)]);
  return { kind: 'redis-clock', byMs: Math.round(byMs) };
};

const rabbitRestart: Draw = (random) => {
  const how = random.pick(['kill', 'kill', 'shutdown'] as const);
  return { kind: 'rabbitmq-restart', forMs: random.between(1, 4_000), how };
};

const rabbitReset: Draw = (random, apps) => {
  const of = random.chance(0.6) ? random.pick(apps) : undefined;
  return { kind: 'rabbitmq-reset', of, chance: random.pick([0.5, 1, 1]) };
};

const DRAWS: readonly (readonly [weight: number, draw: Draw])[] = [
  [3, outage],
  [4, losses],
  [3, slowness],
  [4, () => ({ kind: 'redis-flush' })],
  [3, redisRestart],
  [1, redisClock],
  [3, rabbitRestart],
  [5, rabbitReset],
  [1, (random) => ({ kind: 'rabbitmq-alarm', forMs: random.between(10, 8_000) })],
  [1, (random, apps) => ({ kind: 'rabbitmq-black-hole', of: random.pick(apps), forMs: random.between(100, 20_000) })],
  [1, (random, apps) => ({ kind: 'rabbitmq-cut', of: random.pick(apps), forMs: spell(random) })],
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

/** Some that go together, so that what several precautions are for happens within tens or hundreds of seeds. */
type Plot = (random: Random, apps: readonly string[]) => Fault;

const isKind =
  (kind: string) =>
  (app: string): boolean =>
    app.startsWith(kind);

/** A Redis that is slow and loses its memory, while a gateway that waits for it is cut off from the broker. */
const lostInFlight: Plot = (random, apps) => {
  const of = random.pick(apps.filter(isKind('gateway')));
  const actions = [
    [0, { kind: 'slowness', server: 'redis', forMs: 600, upToMs: 1_900 }],
    [random.between(0, 100), { kind: 'rabbitmq-cut', of, forMs: random.between(900, 1_700) }],
    [random.between(0, 200), { kind: 'redis-flush' }],
  ] as const;
  return { when: { aim: 'redis: reserve', count: 1 + random.int(4), afterMs: 0 }, actions };
};

/**
 * A gateway has reserved a job, cannot publish it and cannot give it back yet; another gateway takes it over meanwhile, and
 * the books hear of nothing.
 */
const takenOver: Plot = (random, apps) => {
  const only = random.pick(apps.filter(isKind('gateway')));
  const redisAway: Outage = { server: 'redis', how: 'refuse', forMs: random.between(1_000, 4_000), only };
  const actions = [
    [0, { kind: 'rabbitmq-cut', of: only, forMs: random.between(1, 5_000) }],
    [0, { kind: 'outage', outage: redisAway }],
    ...apps.filter(isKind('collector')).map((of) => [0, { kind: 'pause', of, forMs: 9_000 }] as const),
  ] as const;
  return { when: { aim: 'redis: reserve', count: 1 + random.int(4), afterMs: 0 }, actions };
};

/** Holds have expired by the clock of Redis while a collector still has their facts in its hands. */
const sweptEarly: Plot = (random, apps) => {
  const of = random.pick(apps.filter(isKind('collector')));
  const actions = [
    [0, { kind: 'pause', of, forMs: random.between(3_000, 9_000) }],
    [random.between(0, 3_000), { kind: 'redis-clock', byMs: Math.round(random.between(400_000, 700_000)) }],
  ] as const;
  return { when: { aim: 'rabbitmq: commit in results', count: 1 + random.int(8), afterMs: 0 }, actions };
};

const PLOTS: readonly Plot[] = [lostInFlight, takenOver, sweptEarly];

export interface FaultOptions {
  readonly apps: readonly string[];
  /** Most faults come at about these moments, when there is something to be lost (milliseconds). */
  readonly burstsAtMs: readonly number[];
  /** All that come at a time come before this (milliseconds). */
  readonly untilMs: number;
  readonly count: number;
}

function drawMoment(random: Random, { burstsAtMs, untilMs }: FaultOptions): FaultMoment {
  if (random.chance(0.5)) {
    return {
      aim: random.pick(AIMS),
      count: 1 + random.int(MOST_EVENTS_AIMED_AT),
      afterMs: random.pick([0, random.between(0, 3)]),
    };
  }
  const atMs = random.chance(0.2)
    ? random.between(0, untilMs)
    : random.pick(burstsAtMs) + random.between(0, random.pick([100, 1_500]));
  return { atMs: Math.min(atMs, untilMs) };
}

/** Faults at any time, most of them in the midst of requests, some in quick succession. */
export function drawFaults(random: Random, options: FaultOptions): readonly Fault[] {
  return Array.from({ length: options.count }, () => {
    if (random.chance(0.1)) return random.pick(PLOTS)(random, options.apps);
    const when = drawMoment(random, options);
    const count = random.pick([1, 1, 1, 2, 3]);
    const actions = Array.from(
      { length: count },
      (_, index) => [index === 0 ? 0 : random.between(0, 40), drawAction(random, options.apps)] as const,
    );
    return { when, actions };
  });
}

/** PostgreSQL is away for longer than holds live: what was accepted meanwhile is known to the broker alone. */
export function longOutage(random: Random, burstsAtMs: readonly number[]): Fault {
  const outage: Outage = {
    server: 'postgres',
    how: random.pick(['refuse', 'hang'] as const),
    forMs: random.between(200_000, 600_000),
  };
  const when = { atMs: random.pick(burstsAtMs) + random.between(0, 300) };
  return { when, actions: [[0, { kind: 'outage', outage }]] };
}
