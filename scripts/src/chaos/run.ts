import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { conduct, type FaultRecord } from './conductor.js';
import { readConditions } from './conditions.js';
import { FAULT_KINDS } from './faults/index.js';
import type { ChaosOptions } from './options.js';
import {
  createTenants,
  judge,
  type Load,
  startLoad,
  SUITE_SETTINGS,
  type Tenants,
  writeObservations,
} from './outsider/index.js';
import { type ChaosReport, markdownOf, problemsOf } from './report.js';
import { schedule } from './schedule.js';
import { CAST, openStage, type Stage } from './stage.js';

export interface RunOptions extends Omit<ChaosOptions, 'directory' | 'report'> {
  readonly directory: string;
  /** From one fault to the next on average; what makes them fit into the minutes when absent. */
  readonly spacingMs?: number;
  /** What repeats the run, for the report. */
  readonly command: string;
  /** Told what happens, for people. */
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Faults that overlap at most. */
const AT_ONCE = 3;
/** Share of the time in which the faults are planned; the rest is for what lasted longer than planned. */
const PLANNED_SHARE = 0.8;
const DRAIN_MS = 180_000;
/** The suite serves undisturbed for so long before the first fault. */
const CALM_MS = 2_000;
const MINUTE_MS = 60_000;

/**
 * Starts everything, puts it under load and faults, heals it, lets it come to rest and judges it. Leaves `report.md`,
 * `report.json`, `observations.ndjson` and logs in `directory`; data too when something was wrong.
 *
 * @throws Error when it could not be carried out, or `signal` has aborted it.
 */
export async function runChaos(options: RunOptions): Promise<ChaosReport> {
  const { directory, report, signal } = options;
  report(`Seed ${options.seed}; everything is in ${directory}`);
  const stage = await openStage({ directory, report, signal, extra: SUITE_SETTINGS });
  let keepData = true;
  try {
    const result = await play(stage, options);
    keepData = options.keep || !result.right;
    return result;
  } finally {
    report(keepData ? `Logs and the servers' data stay in ${directory}` : `Logs stay in ${directory}`);
    await stage.close({ keepData: keepData && !signal.aborted });
  }
}

async function play(stage: Stage, options: RunOptions): Promise<ChaosReport> {
  const { report, signal, directory } = options;
  const startedAt = new Date().toISOString();
  const conditions = await readConditions(stage.world);
  const { load, tenants } = await putUnderLoad(stage, options);
  await pause(CALM_MS, signal);
  report('Faults begin');
  const beganMs = performance.now();
  const faults = await breakThings(stage, options);
  await stage.healAll();
  const faultsTookMs = performance.now() - beganMs;
  signal.throwIfAborted();

  report('All is healed; clients finish what they have begun');
  const observations = await load.stop({ timeoutMs: DRAIN_MS });
  await writeObservations(observations, join(directory, 'observations.ndjson'));
  const postgresUrl = stage.services.servers.postgres.url;
  const verdict = await judge({
    ...{ observations, tenants, postgresUrl },
    urls: () => stage.suite.urls,
    drainTimeoutMs: DRAIN_MS,
  });
  const known = {
    ...{ seed: options.seed, command: options.command, startedAt, conditions, faults, faultsTookMs, verdict },
    wantedFaults: options.faults,
    ratePerSecond: options.rate,
    load: load.counts(),
    unexpectedExits: stage.world.keeper.unexpectedExits,
  };
  const problems = problemsOf(known);
  const result: ChaosReport = { ...known, problems, right: problems.length === 0 };
  await writeFile(join(directory, 'report.json'), `${JSON.stringify(result, null, 2)}\n`);
  await writeFile(join(directory, 'report.md'), markdownOf(result));
  return result;
}

interface UnderLoad {
  readonly load: Load;
  readonly tenants: Tenants;
}

/** The load's seed is the faults'; each draws from a stream of its own. */
async function putUnderLoad({ suite, services }: Stage, options: RunOptions): Promise<UnderLoad> {
  const { rate, seed, faults } = options;
  const amqpUrl = services.servers.rabbitmq.url;
  const tenants = await createTenants({
    url: suite.url,
    adminKey: suite.adminKey,
    brokerUser: new URL(amqpUrl).username,
    perSecond: rate,
    seconds: Math.max(10, (spacingOf(options) * faults) / 1_000),
  });
  const load = await startLoad({ urls: () => suite.urls, tenants, amqpUrl, seed, perSecond: rate });
  return { load, tenants };
}

function breakThings({ world }: Stage, options: RunOptions): Promise<readonly FaultRecord[]> {
  const { seed, faults: wanted, minutes, kinds, report, signal } = options;
  const limitMs = minutes * MINUTE_MS;
  return conduct({
    world,
    faults: schedule({
      ...{ seed, cast: CAST },
      kinds: kinds ?? FAULT_KINDS,
      spacingMs: spacingOf(options),
      eachKindFirst: kinds !== undefined,
    }),
    ...{ wanted, limitMs, signal },
    atOnce: AT_ONCE,
    onFault: (record) => report(lineOf(record)),
  });
}

function spacingOf({ minutes, faults, spacingMs }: RunOptions): number {
  return spacingMs ?? (minutes * MINUTE_MS * PLANNED_SHARE) / Math.max(1, faults);
}

function lineOf({ atMs, healedAtMs, number, kind, target, outcome, reason }: FaultRecord): string {
  const lasted = healedAtMs === undefined ? '' : `, ${((healedAtMs - atMs) / 1_000).toFixed(1)} s`;
  const what = `${(atMs / 1_000).toFixed(1).padStart(6)} s  ${number} ${kind}: ${target}${lasted}`;
  return outcome === 'injected' ? what : `${what} – ${outcome}: ${reason}`;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
