import { attach, createKernel, createRandom, detach, type Kernel } from '../kernel/index.js';
import type { SeedFailure, SeedOutcome, SeedRequest } from '../program/seed-outcome.js';
import { kindOf } from './apps/app.js';
import { createFleet } from './apps/fleet.js';
import { createClients } from './clients/clients.js';
import { SABOTAGES, type Sabotage } from './defects/index.js';
import { injectFaults, type Faults } from './faults.js';
import { InvariantError } from './oracle/invariant.js';
import { createOracle } from './oracle/oracle.js';
import { actionsOf, drawScenario, drawStart, type Scenario } from './scenario/scenario.js';
import { createWorld } from './world.js';

/** How long the suite may take to come to rest once all is healed, in milliseconds. */
const REST_WITHIN_MS = 1_800_000;
const LOOK_EVERY_MS = 1_000;
/** Long enough for a drift check to begin and to end. */
const DRIFT_CHECKED_MS = 130_000;
/** A run with more events goes round in circles. */
const MOST_EVENTS = 200_000;

/** Runs the suite as a seed decides, until it is at rest, and judges it. */
export async function runSeed(request: SeedRequest): Promise<SeedOutcome> {
  const drawn = createRandom(request.seed).fork('scenario');
  const startMs = drawStart(drawn);
  const scenario = drawScenario(drawn, startMs);
  const kernel = createKernel({
    ...{ seed: request.seed, startMs },
    crashAt: [...scenario.crashPoints, ...(request.crashAt ?? [])],
    onEvent(entry) {
      request.onEvent?.(lineOf(entry));
      faults?.onEvent(entry.label);
    },
  });
  let faults: Faults | undefined;
  const sabotage = sabotageOf(request.defect);
  attach(kernel);
  try {
    const world = createWorld({ kernel, scenario, sabotage });
    const oracle = createOracle(world);
    const fleet = createFleet({ world, oracle, sabotage });
    const clients = createClients(world, fleet, oracle);
    const crashes: Record<string, number> = {};
    kernel.onCrash(({ name }) => void (crashes[kindOf(name)] = (crashes[kindOf(name)] ?? 0) + 1));
    fleet.start();
    clients.start();
    faults = injectFaults(world, fleet);
    const atRest = restOf(
      kernel,
      restsFromMs(scenario),
      () => clients.done && fleet.complete && oracle.unrest().length === 0,
    );
    const failure = await judge(async () => {
      await kernel.run({ until: atRest, maxMs: scenario.healAtMs + REST_WITHIN_MS, maxEvents: MOST_EVENTS });
      if (atRest()) oracle.checkFinally();
      else
        oracle.stuck([...clients.waiting, ...oracle.unrest(), ...(fleet.complete ? [] : ['a program does not run'])]);
    });
    for (const [name, count] of Object.entries(oracle.counts)) kernel.trace.note(`${name} ${count}`);
    return {
      seed: request.seed,
      ...(failure && { failure, lastEvents: kernel.trace.last().map(lineOf) }),
      ...{ hash: kernel.trace.hash, events: kernel.trace.events, crashPoints: kernel.crashPoints.passed },
      ...{
        virtualMs: kernel.elapsedMs,
        jobs: oracle.jobs.size,
        crashes,
        faults: faults.counts,
        answers: oracle.kinds,
        checks: oracle.counts,
      },
    };
  } finally {
    detach();
  }
}

function sabotageOf(defect: string | undefined): Sabotage {
  if (defect === undefined) return {};
  const sabotage = SABOTAGES[defect];
  if (!sabotage) throw new RangeError(`there is no defect "${defect}"`);
  return sabotage;
}

/**
 * From when the suite may be at rest. When the clock of Redis was set back beyond the beginning of a period, and a tenant was loaded before that
 * period began anew, its use is not counted there until the next drift check.
 */
function restsFromMs(scenario: Scenario): number {
  const wasSetBack = actionsOf(scenario).some((action) => action.kind === 'redis-clock' && action.byMs < 0);
  return scenario.healAtMs + (wasSetBack ? DRIFT_CHECKED_MS : 0);
}

/** Asks `isAtRest` every second from then on, and remembers. */
function restOf(kernel: Kernel, fromMs: number, isAtRest: () => boolean): () => boolean {
  let rests = false;
  const look = (): void => {
    rests = isAtRest();
    if (!rests) kernel.schedule(LOOK_EVERY_MS, undefined, 'is all at rest?', look);
  };
  kernel.schedule(fromMs + LOOK_EVERY_MS, undefined, 'is all at rest?', look);
  return () => rests;
}

async function judge(run: () => Promise<void>): Promise<SeedFailure | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    if (error instanceof InvariantError) return { invariant: error.invariant, detail: error.message };
    return { invariant: 'error', detail: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

function lineOf({
  index,
  timeUs,
  owner,
  label,
}: {
  index: number;
  timeUs: number;
  owner: string;
  label: string;
}): string {
  return `${String(index).padStart(6)} ${(timeUs / 1000).toFixed(3).padStart(12)} ms  ${owner.padEnd(14)} ${label}`;
}
