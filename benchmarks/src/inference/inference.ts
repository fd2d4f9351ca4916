import { availableParallelism } from 'node:os';
import { asTextModel, buildModels, createTokenizer, openModelRepository } from '@sluice/models';
import { MODEL_DIR } from '@sluice/scripts';
import type { BenchmarkOptions } from '../harness/benchmark.js';
import { describeConditions } from '../harness/conditions.js';
import type { Roles } from '../harness/cpu.js';
import { onPrivateServers, serverRoles } from '../harness/private-servers.js';
import type { BenchmarkResult, CaseResult } from '../harness/report.js';
import { serverVersions } from '../harness/server-versions.js';
import { startBareLoop, type BareLoop } from './bare-loop.js';
import { arrivalOrder, fixedCount, oneByOne, sortedByLength } from './batch-cuts.js';
import { measureLatency } from './latency.js';
import { measureJobMemory, measureReloadMemory } from './memory.js';
import { startSchedulerSide, type SchedulerSide } from './scheduler-side.js';
import { bareSide, bestBudget, schedulerOnlySide, wholeWorkerSide } from './sides.js';
import { CODE, loadTextSet, PROSE, sampleOf, type TextSet, type TextSource } from './text-set.js';
import { measureThroughput } from './throughput.js';
import { startWorkerSide, type WorkerSide } from './worker-side.js';

interface ModelCase {
  readonly model: string;
  readonly source: TextSource;
  /** What the offline loop may cut its batches by, in tokens with padding. */
  readonly budgets: readonly number[];
}

const EMBEDDING: ModelCase = { model: 'use-lite-en', source: PROSE, budgets: [128, 256, 512, 1_024, 2_048] };
const LANGUAGE: ModelCase = { model: 'guesslang', source: CODE, budgets: [4_096, 8_192, 16_384, 32_768, 65_536] };

const VERSION = '1';
const TEXTS = 2_000;
/** A quick run takes every so many texts of a set. */
const QUICK_STEP = 10;
const SEARCH_PASSES = 3;
const FIXED_COUNT = 16;
/** Longest texts with which memory is watched, in tokens. */
const SHORT_TEXT = 512;

const OFFLINE = 'offline';
const FIXED = `${FIXED_COUNT} at a time, as they come`;
const WORKER = 'worker, 1 text a job';
const WORKER_LARGE = 'worker, 16 texts a job';

interface Rig {
  readonly worker: WorkerSide;
  readonly scheduler: SchedulerSide;
  readonly processes: number;
  readonly servers: Roles;
}

/** The whole worker beside the best possible offline loop over the same real texts, on the same cores. */
export async function runInference(options: BenchmarkOptions): Promise<BenchmarkResult> {
  await buildModels({ directory: MODEL_DIR, report: options.report });
  return onPrivateServers(options, async (services, directory) => {
    const { environment } = services;
    const conditions = describeConditions(options.command, await serverVersions(environment));
    const processes = availableParallelism();
    const rabbitmqUrl = environment['SLUICE_RABBITMQ_URL'] ?? '';
    const worker = await startWorkerSide({ rabbitmqUrl, directory, processes, signal: options.signal });
    let scheduler: SchedulerSide | undefined;
    try {
      const models = await Promise.all([EMBEDDING, LANGUAGE].map(({ model }) => serve(model)));
      scheduler = await startSchedulerSide({ directory, processes, models });
      const rig = { worker, scheduler, processes, servers: serverRoles(services) };
      const measured = [];
      for (const item of [EMBEDDING, LANGUAGE]) measured.push(await measureModel(item, rig, options));
      const short = await loadSet(LANGUAGE, options, SHORT_TEXT);
      const memory = [
        ...(await measureJobMemory({ ...options, worker, set: short })),
        ...(await measureReloadMemory({ ...options, scheduler, set: short })),
      ];
      return {
        benchmark: 'inference',
        conditions,
        notes: [...notesOf(processes), ...measured.map(({ note }) => note)],
        cases: [...measured.flatMap(({ cases }) => cases), ...memory],
      };
    } finally {
      await scheduler?.stop();
      await worker.stop();
    }
  });
}

function notesOf(processes: number): readonly string[] {
  return [
    `${processes} inference processes with one thread on every side; broker and benchmark share the cores with the worker.`,
    'offline: texts sorted by length, batches of the best of several budgets, given to processes that do nothing else.',
    'worker: every job is in the queue before the first is looked at; until the last confirmed result has arrived.',
  ];
}

async function serve(name: string) {
  const model = asTextModel(await (await openModelRepository(MODEL_DIR)).find(name, VERSION));
  return { key: `${name}/${VERSION}`, model, tokenizer: await createTokenizer(model) };
}

async function loadSet(
  { model: name, source }: ModelCase,
  { quick }: BenchmarkOptions,
  maxTokens?: number,
): Promise<TextSet> {
  const { model, tokenizer } = await serve(name);
  const limit = maxTokens ?? model.file.maxInputTokens;
  const set = await loadTextSet({ model, tokenizer, source, count: TEXTS, maxTokens: limit });
  return quick ? sampleOf(set, QUICK_STEP) : set;
}

async function measureModel(
  item: ModelCase,
  rig: Rig,
  options: BenchmarkOptions,
): Promise<{ readonly cases: readonly CaseResult[]; readonly note: string }> {
  const set = await loadSet(item, options);
  const loop = await startBareLoop(set, rig.processes);
  try {
    const budget = await bestBudget(loop, set, { budgets: item.budgets, passes: options.quick ? 1 : SEARCH_PASSES });
    const throughput = await measureThroughput({ ...options, set, ...sidesOf(rig, loop, set, budget) });
    const latency = await measureLatency({ ...options, set, loop, worker: rig.worker });
    const note = `${item.model}: set ${set.digest}; offline is best with ${budget} tokens, of ${item.budgets.join(', ')}.`;
    return { cases: [...throughput, ...latency], note };
  } finally {
    await loop.stop();
  }
}

function sidesOf({ worker, scheduler, servers }: Rig, loop: BareLoop, set: TextSet, budget: number) {
  const whole = { worker, set, servers };
  return {
    sides: [
      bareSide({ name: OFFLINE, loop, set, cut: sortedByLength(budget) }),
      wholeWorkerSide({ ...whole, name: WORKER, textsPerJob: 1 }),
      wholeWorkerSide({ ...whole, name: WORKER_LARGE, textsPerJob: 16 }),
      schedulerOnlySide('scheduler and processes only', scheduler, set),
      bareSide({ name: 'one by one', loop, set, cut: oneByOne }),
      bareSide({ name: FIXED, loop, set, cut: fixedCount(FIXED_COUNT) }),
      bareSide({ name: `as they come, ${budget} tokens`, loop, set, cut: arrivalOrder(budget) }),
    ],
    fixed: FIXED,
    workers: [WORKER, WORKER_LARGE],
  } as const;
}
