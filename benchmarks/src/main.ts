import { fileURLToPath } from 'node:url';
import { parseCommandLine, USAGE, type BenchmarkName, type CommandLine } from './command-line.js';
import type { BenchmarkOptions } from './harness/benchmark.js';
import { formatResult, writeResult, type BenchmarkResult } from './harness/report.js';
import { runInference } from './inference/inference.js';
import { recordBenchmark } from './micro/record.js';
import { reserveBenchmark } from './micro/reserve.js';
import { runMicro } from './micro/micro.js';
import { runPipeline } from './pipeline/pipeline.js';
import { runRecovery } from './recovery/recovery.js';
import { runScaling } from './scaling/scaling.js';
import { runTelemetry } from './telemetry/telemetry.js';

const RUN: Readonly<Record<BenchmarkName, (options: BenchmarkOptions) => Promise<BenchmarkResult>>> = {
  pipeline: runPipeline,
  reserve: (options) => runMicro(reserveBenchmark, options),
  record: (options) => runMicro(recordBenchmark, options),
  recovery: runRecovery,
  inference: runInference,
  scaling: runScaling,
  telemetry: runTelemetry,
};

async function main({ names, quick, rounds, json, curve }: CommandLine, args: readonly string[]): Promise<void> {
  const signal = interruption();
  for (const name of names) {
    const result = await RUN[name]({
      quick,
      rounds,
      curve,
      signal,
      command: ['npm run bench --', ...args].join(' '),
      report: (line) => console.log(`  ${line}`),
    });
    const path = json ?? defaultPath(result);
    await writeResult(path, result);
    console.log(formatResult(result));
    console.log(`\n${path}`);
  }
}

/** Aborted by Ctrl-C or SIGTERM; a second one ends the process at once. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Error('interrupted'));
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return controller.signal;
}

function defaultPath({ benchmark, conditions }: BenchmarkResult): string {
  const time = conditions.at.replaceAll(/[:.]/g, '-');
  return fileURLToPath(new URL(`../results/${benchmark}-${time}.json`, import.meta.url));
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause)}`;
}

try {
  const args = process.argv.slice(2);
  const commandLine = parseCommandLine(args);
  if (commandLine === 'help') process.stdout.write(USAGE);
  else await main(commandLine, args);
} catch (error) {
  console.error(describe(error));
  process.exitCode = 1;
}
