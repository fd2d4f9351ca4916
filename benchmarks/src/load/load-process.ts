/** Entry of the load generator's process: takes a plan from its parent, runs it, answers with the result, ends. */
import { percentiles, type Percentiles } from '../harness/statistics.js';
import { runClosedLoop } from './closed-loop.js';
import type { LoadPlan, LoadResult } from './load-plan.js';
import { runPaced } from './paced.js';

async function run(plan: LoadPlan): Promise<LoadResult> {
  const latencies: number[] = [];
  const refused: Record<string, number> = {};
  let endedAtMs = 0;
  const onAnswer = (status: number | string, latencyMs: number): void => {
    if (status === 202) latencies.push(latencyMs);
    else refused[status] = (refused[status] ?? 0) + 1;
    endedAtMs = Date.now();
  };
  const cpuBefore = process.cpuUsage();
  const startedAtMs = Date.now();
  const lateMs = await send(plan, onAnswer);
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    accepted: latencies.length,
    refused,
    startedAtMs,
    endedAtMs,
    submitMs: latencies.length > 0 ? percentiles(latencies) : { p50: 0, p90: 0, p99: 0 },
    ...(lateMs && { lateMs }),
    cpuMicros: user + system,
  };
}

async function send(
  plan: LoadPlan,
  onAnswer: (status: number | string, latencyMs: number) => void,
): Promise<Percentiles | undefined> {
  if (plan.pace.kind === 'paced') return runPaced(plan, plan.pace.perSecond, onAnswer);
  await runClosedLoop(plan, onAnswer);
  return undefined;
}

process.once('disconnect', () => process.exit(1));
process.once('message', (plan: LoadPlan) => {
  void run(plan).then((result) => process.send?.(result, () => process.exit(0)));
});
