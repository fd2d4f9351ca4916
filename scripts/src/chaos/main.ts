import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { closeClient } from '../client.js';
import { LOCAL } from '../paths.js';
import { type ChaosOptions, parseChaosOptions, USAGE } from './options.js';
import { runChaos } from './run.js';

/** Exit code of a shell's command that Ctrl-C has ended. */
const INTERRUPTED = 130;
/** Beyond the time for faults: start, drain, verdict and end. */
const MOST_OVERHEAD_MS = 10 * 60_000;

async function main(options: ChaosOptions): Promise<number> {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => (interrupted.signal.aborted ? process.exit(INTERRUPTED) : interrupted.abort()));
  }
  const hardStop = setTimeout(
    () => fail('It took far longer than it may.'),
    options.minutes * 60_000 + MOST_OVERHEAD_MS,
  );
  const name = `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-${options.seed}`;
  const directory = options.directory ?? join(LOCAL, 'chaos', name);
  const startedAtMs = performance.now();
  const report = (line: string): void => print(`${elapsed(startedAtMs)}  ${line}`);
  try {
    const result = await runChaos({
      ...{ ...options, directory, report, signal: interrupted.signal },
      command: commandOf(options),
    });
    const file = join(directory, 'report.md');
    if (options.report !== undefined) await copyFile(file, options.report);
    for (const problem of result.problems) print(`✗ ${problem}`);
    for (const { name: check, right, detail } of result.verdict.checks)
      print(`${right ? '✓' : '✗'} ${check}: ${detail}`);
    print(`${result.right ? 'Everything was right' : 'Something was wrong'}; the report: ${file}`);
    return result.right ? 0 : 1;
  } catch (error) {
    if (interrupted.signal.aborted) return INTERRUPTED;
    throw error;
  } finally {
    clearTimeout(hardStop);
    await closeClient();
  }
}

/** What repeats the run; the rate and the time shape load and schedule as the seed does. */
function commandOf({ seed, faults, minutes, rate, kinds }: ChaosOptions): string {
  const named = kinds === undefined ? '' : ` --kinds '${kinds.map(({ name }) => name).join(',')}'`;
  return `npm run chaos -- --seed ${seed} --faults ${faults} --minutes ${minutes} --rate ${rate}${named}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function elapsed(startedAtMs: number): string {
  return `${((performance.now() - startedAtMs) / 1_000).toFixed(1).padStart(6)} s`;
}

/** n.b. the servers end with this process, and apps drain when their parent is gone. */
function fail(reason: string): never {
  process.stderr.write(`\n${reason}\n`);
  process.exit(1);
}

try {
  const options = parseChaosOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(USAGE);
  else process.exitCode = await main(options);
} catch (error) {
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
