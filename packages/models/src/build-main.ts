import { buildModels } from './build-models.js';

/** `node dist/build-main.js <directory>`: builds the bundled models into a model repository. */
const [directory] = process.argv.slice(2);

if (directory === undefined) {
  process.stderr.write('usage: build-main.js <directory>\n');
  process.exitCode = 64; // EX_USAGE of sysexits.h
} else {
  try {
    await buildModels({ directory, report: (message) => process.stdout.write(`${message}\n`) });
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
