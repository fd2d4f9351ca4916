// Runs on Node alone, before anything is installed: installs what the lock file names, builds, and hands over to the
// compiled program. Usage: node scripts/bootstrap.mjs <start|test|bench|chaos|cluster|reconcile|simulate|manifests> [arguments]
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const PROGRAMS = {
  start: 'scripts/dist/start.js',
  test: 'scripts/dist/test.js',
  bench: 'benchmarks/dist/main.js',
  chaos: 'scripts/dist/chaos/main.js',
  cluster: 'scripts/dist/cluster/main.js',
  reconcile: 'scripts/dist/reconcile.js',
  simulate: 'packages/simulation/dist/main.js',
  manifests: 'scripts/dist/manifests/main.js',
};
/** What the build cannot do without, as files of packages. */
const TOOLS = ['turbo/bin/turbo', 'typescript/bin/tsc'];
const root = fileURLToPath(new URL('..', import.meta.url));
const [command = '', ...rest] = process.argv.slice(2);
const quiet = rest.includes('--quiet');

/** Prints the time a step took, so that a slow machine is not mistaken for a hanging one. */
function step(name, work) {
  const startedAt = Date.now();
  if (!quiet) process.stdout.write(`  ${name} …`);
  work();
  if (!quiet) process.stdout.write(` ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
}

function run(program, args, what) {
  const environment = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip', TURBO_TELEMETRY_DISABLED: '1' };
  const result = spawnSync(program, args, { cwd: root, env: environment, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.status === 0) return;
  process.stderr.write(
    `\n${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n${what} failed.\n`,
  );
  // Whoever reads the last line of a test run finds it even when no test could start.
  if (command === 'test') process.stdout.write('0 passed, 1 failed\n');
  process.exit(1);
}

/** Packages hold native binaries, so a checkout that two systems share is installed anew by each. */
function installationHash() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update([process.version, process.platform, process.arch].join(' '))
    .digest('hex');
}

/** The file of a tool that was installed, or undefined. */
function toolPath(file) {
  try {
    return createRequire(join(root, 'package.json')).resolve(file);
  } catch {
    return undefined;
  }
}

function missingTools() {
  return TOOLS.filter((file) => toolPath(file) === undefined);
}

function install() {
  const stamp = join(root, 'node_modules', '.sluice-lock');
  const wanted = installationHash();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted && missingTools().length === 0) return;
  // n.b. when npm runs this script it names its own entry file; otherwise npm is looked up on the PATH.
  const npm = process.env.npm_execpath;
  // Included by name, because NODE_ENV=production or `omit` in someone's npm settings would leave out what the build
  // needs: the compilers are devDependencies, and their native parts optional ones.
  const kinds = ['--include=dev', '--include=optional'];
  const args = ['ci', ...kinds, '--no-audit', '--no-fund', '--ignore-scripts'];
  step('installing packages', () =>
    npm?.endsWith('.js')
      ? run(process.execPath, [npm, ...args], 'npm ci')
      : run(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, 'npm ci'),
  );
  const missing = missingTools();
  if (missing.length > 0) {
    process.stderr.write(`npm ci ended well but did not install ${missing.join(' and ')}.\n`);
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
}

function build() {
  const turbo = toolPath('turbo/bin/turbo');
  step('building', () => run(process.execPath, [turbo, 'run', 'build', '--output-logs=errors-only'], 'The build'));
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`Sluice needs Node 20.19 or newer; this is ${process.version}.\n`);
  process.exit(1);
}
const program = PROGRAMS[command];
if (!program) {
  process.stderr.write(`Usage: node scripts/bootstrap.mjs <${Object.keys(PROGRAMS).join('|')}> [arguments]\n`);
  process.exit(2);
}
process.chdir(root);
install();
build();
process.argv.splice(1, 2, join(root, program));
await import(pathToFileURL(join(root, program)).href);
