import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { setImmediate as breathe } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BenchmarkOptions } from '../harness/benchmark.js';
import { describeConditions } from '../harness/conditions.js';
import type { BenchmarkResult, ResultTable } from '../harness/report.js';
import { drawChart } from './chart.js';
import { jobsPerWorker, planFor, PLANNED_RATES } from './plan.js';
import { RECOMMENDED_POLICY, POLICY_NAMES } from './policies.js';
import { SCENARIOS, SHAPES, type Scenario } from './scenarios.js';
import { createService, MEASURED_PARENT, type Service } from './service.js';
import { BURST_VARIANTS, OUTAGE_VARIANTS, RARE_VARIANTS, study, withDefaults, type Variant } from './studies.js';
import { outcomeTable, planTable } from './tables.js';
import type { Outcome } from './tally.js';
import { meanJobTexts, meanJobTokens } from './workload.js';

/** The curve that is simulated unless another is given: measured by a worker on the machine of the results in benchmarks/README.md. */
export const CURVE_PATH = fileURLToPath(new URL('../../calibration/use-lite-en.json', import.meta.url));
/** Where the pictures of the documents are. */
export const IMAGE_DIR = fileURLToPath(new URL('../../../docs/images', import.meta.url));

/** @throws Error when the file cannot be read or is no calibration. */
export async function readService(path: string): Promise<Service> {
  return createService({ ...MEASURED_PARENT, calibration: await readFile(path, 'utf8') });
}

/** What numbers of jobs like those of the scenarios need, and what single sentences. */
export function planTableFor(service: Service): ResultTable {
  const mixed = jobsPerWorker(service, { texts: meanJobTexts(SHAPES), tokens: meanJobTokens(SHAPES) });
  const sentences = jobsPerWorker(service, { texts: 1, tokens: MEASURED_PARENT.meanTokens });
  return planTable(PLANNED_RATES.map((rate) => planFor(rate, { mixed, sentences })));
}

export function imageName({ name }: Pick<Scenario, 'name'>): string {
  return `scaling-${name}.svg`;
}

export function drawScenario({ name, description }: Scenario, outcome: Outcome): string {
  return drawChart(`${name}: ${description}`, outcome);
}

/**
 * Runs pools over virtual time and compares ways to scale them. Nothing is measured: the same curve gives the same numbers. Draws the
 * pictures of the documents, unless it is quick or the curve is another one.
 */
export async function runScaling(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const { quick, curve = CURVE_PATH, command, report, signal } = options;
  const service = await readService(curve);

  async function run(scenario: Scenario, variants: readonly Variant[]): Promise<ReadonlyMap<Variant, Outcome>> {
    const outcomes = new Map<Variant, Outcome>();
    for (const variant of variants) {
      // Lets Ctrl-C through: a simulation never waits for anything.
      await breathe();
      signal.throwIfAborted();
      outcomes.set(variant, study(scenario, variant, service));
    }
    report(`${scenario.name}: ${variants.length} ways`);
    return outcomes;
  }

  const tables: ResultTable[] = [];
  const wanted: readonly Scenario[] = quick ? SCENARIOS.filter(({ name }) => name === 'rare') : SCENARIOS;
  for (const scenario of wanted) {
    const outcomes = await run(scenario, POLICY_NAMES.map(withDefaults));
    tables.push(outcomeTable(`${scenario.name}: ${scenario.description}`, outcomes));
    const drawn = [...outcomes].find(([{ policy }]) => policy === RECOMMENDED_POLICY)?.[1];
    if (drawn && !quick && curve === CURVE_PATH) await draw(scenario, drawn);
  }
  for (const { title, scenario, variants } of STUDIES) {
    const found = wanted.find(({ name }) => name === scenario);
    if (found) tables.push(outcomeTable(title, await run(found, variants)));
  }
  tables.push(planTableFor(service));
  return {
    benchmark: 'scaling',
    conditions: describeConditions(command, {}),
    notes: notesOf(service),
    cases: [],
    tables,
  };
}

async function draw(scenario: Scenario, outcome: Outcome): Promise<void> {
  await mkdir(IMAGE_DIR, { recursive: true });
  await writeFile(`${IMAGE_DIR}/${imageName(scenario)}`, drawScenario(scenario, outcome));
}

const STUDIES = [
  { title: 'bursts: one number changed at a time', scenario: 'bursts', variants: BURST_VARIANTS },
  { title: 'rare: one number changed at a time', scenario: 'rare', variants: RARE_VARIANTS },
  { title: 'bursts, and no metric for ten minutes of them', scenario: 'bursts', variants: OUTAGE_VARIANTS },
] as const;

function notesOf({ processes, batchTokens, capacityTokensPerSecond }: Service): readonly string[] {
  return [
    'simulated, virtual time: nothing was measured in this run, and the same curve gives the same numbers.',
    `a worker: ${processes} cores, batches of ${batchTokens.toFixed(0)} tokens, ${capacityTokensPerSecond.toFixed(0)} tokens/s by its curve.`,
    'waits are those before a job begins, in seconds. late: share of jobs beyond 1 s (interactive), 10 s (standard), 300 s (batch).',
    'worker hours are of pods from their making to their end. flaps: pods added within ten minutes of some being removed.',
  ];
}
