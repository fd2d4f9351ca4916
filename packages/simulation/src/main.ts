// `npm run simulate`: runs the suite on virtual time, seed by seed. Exit codes: 0 every invariant held, 1 one did not,
// 2 an argument means nothing.
import { readOptions, USAGE, UsageError } from './program/options.js';
import { runProgram } from './program/program.js';

const print = (text: string): void => void process.stdout.write(text);

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) print(USAGE);
  else process.exitCode = (await runProgram(options, print)) ? 0 : 1;
} catch (error) {
  const isUsage = error instanceof UsageError;
  process.stderr.write(
    isUsage ? `${error.message}\n${USAGE}` : `${String(error instanceof Error ? error.stack : error)}\n`,
  );
  process.exitCode = isUsage ? 2 : 1;
}
