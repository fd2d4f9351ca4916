import { join } from 'node:path';
import {
  createTestDatabase,
  createVirtualHost,
  startTraceReceiver,
  type LocalServices,
  type TraceReceiver,
} from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { closeClient, MODEL_DIR } from '@sluice/scripts';
import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare } from '../harness/comparison.js';
import { describeConditions } from '../harness/conditions.js';
import { pipelineMetrics } from '../harness/figures.js';
import { onPrivateServers, serverRoles } from '../harness/private-servers.js';
import type { BenchmarkResult, CaseResult } from '../harness/report.js';
import { runRounds } from '../harness/rounds.js';
import { serverVersions } from '../harness/server-versions.js';
import { trackCommitTimes } from '../pipeline/books.js';
import { measureRound, type Case } from '../pipeline/measurement.js';
import type { Side } from '../pipeline/side.js';
import { startSluiceSide } from '../pipeline/sluice-side.js';

const CASE: Case = { name: '64 connections', pace: { kind: 'closed', connections: 64 }, requests: 10_000 };
const QUICK_CASE: Case = { ...CASE, requests: 500 };

const OFF = 'off';
const DEFAULT = '1 %';
const ALL = '100 %';

const NOTES = [
  'three suites on the same servers, each with a database and a virtual host of its own; the other two are idle.',
  'spans go as protobuf to a collector that throws them away, in the process of the benchmark.',
];

/** What a suite does that records traces, beside one that does not, on the same private servers in turns. */
export async function runTelemetry(options: BenchmarkOptions): Promise<BenchmarkResult> {
  await buildModels({ directory: MODEL_DIR, report: options.report });
  const receiver = await startTraceReceiver();
  try {
    return await onPrivateServers(options, (services, directory) => runOn(services, directory, receiver, options));
  } finally {
    await receiver.close();
  }
}

async function runOn(
  services: LocalServices,
  directory: string,
  { endpoint }: TraceReceiver,
  options: BenchmarkOptions,
): Promise<BenchmarkResult> {
  await trackCommitTimes(services.servers.postgres);
  const versions = await serverVersions(services.environment);
  const traced = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint };
  const sides: Side[] = [];
  try {
    for (const [name, extra] of [
      [OFF, {}],
      [DEFAULT, traced],
      [ALL, { ...traced, OTEL_TRACES_SAMPLER: 'parentbased_always_on' }],
    ] as const) {
      const environment = await apart(services);
      sides.push(await startSluiceSide({ name, extra, environment, directory: join(directory, name) }));
    }
    await closeClient();
    const conditions = describeConditions(options.command, versions);
    return { benchmark: 'telemetry', conditions, notes: NOTES, cases: await runCases(sides, services, options) };
  } finally {
    for (const side of sides) await side.stop();
  }
}

async function runCases(
  sides: readonly Side[],
  services: LocalServices,
  { quick, rounds = quick ? 1 : 5, report, signal }: BenchmarkOptions,
): Promise<readonly CaseResult[]> {
  const item = quick ? QUICK_CASE : CASE;
  const servers = serverRoles(services);
  const figures = await runRounds({
    sides,
    rounds,
    warmUps: 1,
    measure: (side) => measureRound(side, item, { servers, signal }),
    report: ({ side, round, figures: { jobsPerSecond } }) =>
      report(`${item.name}, round ${round}, ${side.name}: ${jobsPerSecond.toFixed(0)} jobs/s`),
  });
  const off = figures[OFF] ?? [];
  return [DEFAULT, ALL].map((name): CaseResult => {
    const on = figures[name] ?? [];
    const comparisons = compare(pipelineMetrics(off), off, on);
    return {
      name: `${item.name}, ${name} recorded`,
      columns: [OFF, name],
      rounds: { [OFF]: off, [name]: on },
      comparisons,
    };
  });
}

/** The same servers, with nothing of another suite on them. */
async function apart({ environment }: LocalServices): Promise<Readonly<Record<string, string>>> {
  const of = (name: string): string => environment[name] ?? '';
  const [database, host] = await Promise.all([
    createTestDatabase(of('SLUICE_POSTGRES_URL')),
    createVirtualHost({
      rabbitmqUrl: of('SLUICE_RABBITMQ_URL'),
      managementUrl: of('SLUICE_RABBITMQ_MANAGEMENT_URL'),
    }),
  ]);
  return {
    ...environment,
    SLUICE_POSTGRES_URL: database.url,
    SLUICE_RABBITMQ_URL: host.url,
    SLUICE_KEY_PREFIX: `bench-${host.name}`,
  };
}
