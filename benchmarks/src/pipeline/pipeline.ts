import type { LocalServices } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { closeClient, MODEL_DIR } from '@sluice/scripts';
import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare } from '../harness/comparison.js';
import { pipelineMetrics } from '../harness/figures.js';
import { describeConditions } from '../harness/conditions.js';
import type { Roles } from '../harness/cpu.js';
import { onPrivateServers, serverRoles } from '../harness/private-servers.js';
import type { BenchmarkResult, CaseResult } from '../harness/report.js';
import { runRounds } from '../harness/rounds.js';
import { serverVersions } from '../harness/server-versions.js';
import { trackCommitTimes } from './books.js';
import { startFloorSide } from './floor-side.js';
import { measureRound, type Case } from './measurement.js';
import { SIDE_NAMES, type Side } from './side.js';
import { startSluiceSide } from './sluice-side.js';

const CASES: readonly Case[] = [
  { name: '256 connections', pace: { kind: 'closed', connections: 256 }, requests: 20_000 },
  { name: '64 connections', pace: { kind: 'closed', connections: 64 }, requests: 20_000 },
  { name: 'paced at 1,000/s', pace: { kind: 'paced', connections: 64, perSecond: 1_000 }, requests: 6_000 },
];
const QUICK_CASES: readonly Case[] = [
  { name: '64 connections', pace: { kind: 'closed', connections: 64 }, requests: 1_000 },
  { name: 'paced at 200/s', pace: { kind: 'paced', connections: 16, perSecond: 200 }, requests: 200 },
];

const NOTES = [
  'floor: the same path without authentication, validation, ledger or recovery, and its worker runs nothing.',
  'sluice: everything on, and its worker really runs a model (guesslang, 50 bytes) in child processes, counted as worker.',
  'load generator, servers and both pipelines share the cores.',
];

/** Submit → billed of the suite beside a no-frills pipeline on the same private servers, in turns. */
export async function runPipeline(options: BenchmarkOptions): Promise<BenchmarkResult> {
  await buildModels({ directory: MODEL_DIR, report: options.report });
  return onPrivateServers(options, (services, directory) => runOn(services, directory, options));
}

async function runOn(services: LocalServices, directory: string, options: BenchmarkOptions): Promise<BenchmarkResult> {
  const committed = await trackCommitTimes(services.servers.postgres);
  const versions = await serverVersions(services.environment);
  const sides: Side[] = [];
  try {
    sides.push(await startFloorSide(services.environment));
    sides.push(await startSluiceSide({ environment: services.environment, directory }));
    await closeClient();
    const servers = serverRoles(services);
    const cases: CaseResult[] = [];
    for (const item of options.quick ? QUICK_CASES : CASES) cases.push(await runCase(item, sides, servers, options));
    return {
      benchmark: 'pipeline',
      conditions: describeConditions(options.command, versions),
      notes: committed ? NOTES : [...NOTES, 'billed latencies end at the start of the recording transaction.'],
      cases,
    };
  } finally {
    for (const side of sides) await side.stop();
  }
}

async function runCase(
  item: Case,
  sides: readonly Side[],
  servers: Roles,
  { quick, rounds = quick ? 1 : 5, report, signal }: BenchmarkOptions,
): Promise<CaseResult> {
  const figures = await runRounds({
    sides,
    rounds,
    warmUps: 1,
    measure: (side) => measureRound(side, item, { servers, signal }),
    report: ({ side, round, figures: { jobsPerSecond, billedMs } }) =>
      report(
        `${item.name}, round ${round}, ${side.name}: ${jobsPerSecond.toFixed(0)} jobs/s, billed p50 ${billedMs.p50.toFixed(1)} ms`,
      ),
  });
  const [baseline = [], subject = []] = SIDE_NAMES.map((name) => figures[name] ?? []);
  return { name: item.name, rounds: figures, comparisons: compare(pipelineMetrics(baseline), baseline, subject) };
}
