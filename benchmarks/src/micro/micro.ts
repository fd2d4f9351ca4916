import type { LocalServices } from '@sluice/local-services';
import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare } from '../harness/comparison.js';
import { describeConditions } from '../harness/conditions.js';
import { onPrivateServers } from '../harness/private-servers.js';
import type { BenchmarkResult, CaseResult } from '../harness/report.js';
import { runRounds } from '../harness/rounds.js';
import { serverVersions } from '../harness/server-versions.js';
import { measureOperations, OPERATION_METRICS, type OperationLoad, type OperationSide } from './operations.js';

/** One comparison: the bare part first, then what Sluice makes of it. */
export interface MicroCase {
  readonly name: string;
  readonly sides: readonly [baseline: OperationSide, subject: OperationSide];
  readonly load: Omit<OperationLoad, 'signal'>;
}

/** What a micro-benchmark measures, on servers that are running. */
export interface MicroPlan {
  readonly cases: readonly MicroCase[];
  readonly notes: readonly string[];
  close(): Promise<void>;
}

export interface MicroBenchmark {
  readonly name: string;
  readonly prepare: (services: LocalServices, options: BenchmarkOptions) => Promise<MicroPlan>;
}

const ROUNDS = 7;

/** Runs a micro-benchmark on private servers of its own. */
export async function runMicro({ name, prepare }: MicroBenchmark, options: BenchmarkOptions): Promise<BenchmarkResult> {
  return onPrivateServers(options, async (services) => {
    const conditions = describeConditions(options.command, await serverVersions(services.environment));
    const plan = await prepare(services, options);
    try {
      const cases: CaseResult[] = [];
      for (const item of plan.cases) cases.push(await runCase(item, options));
      return { benchmark: name, conditions, notes: plan.notes, cases };
    } finally {
      await plan.close();
    }
  });
}

async function runCase(
  { name, sides, load }: MicroCase,
  { quick, rounds = quick ? 1 : ROUNDS, report, signal }: BenchmarkOptions,
): Promise<CaseResult> {
  const figures = await runRounds({
    sides,
    rounds,
    warmUps: 1,
    measure: (side) => measureOperations(side, { ...load, signal }),
    report: ({ side, round, figures: { perSecond } }) =>
      report(`${name}, round ${round}, ${side.name}: ${perSecond.toFixed(0)}/s`),
  });
  const [baseline = [], subject = []] = sides.map((side) => figures[side.name] ?? []);
  return { name, rounds: figures, comparisons: compare(OPERATION_METRICS, baseline, subject) };
}
