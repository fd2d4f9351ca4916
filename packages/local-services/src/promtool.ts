import { execFile } from 'node:child_process';
import { dockerAnswers } from './containers.js';
import { canInstallHere, installPackages } from './installation.js';
import { cleanEnvironment } from './managed-process.js';
import { findPrograms } from './programs.js';

/** Prometheus' tool that checks rules and runs their unit tests. */
export interface Promtool {
  /** Runs it in this folder and resolves with whether it was content and what it said. It reads nothing outside. */
  run(args: readonly string[], folder: string): Promise<{ readonly ok: boolean; readonly output: string }>;
}

const PACKAGE = 'prometheus';
const IMAGE = 'prom/prometheus:v3.5.0';
const TIMEOUT_MS = 60_000;

/**
 * Finds promtool on this machine, else installs its package where that may be done, else takes it from a container. `report` hears
 * of an installation, line by line.
 *
 * @throws Error that lists the remedies when there is no way to it.
 */
export async function findPromtool(
  environment: NodeJS.ProcessEnv,
  report: (line: string) => void = () => undefined,
): Promise<Promtool> {
  const look = (): ReturnType<typeof findPrograms> => findPrograms(environment['PATH'] ?? '');
  let { promtool, docker } = look();
  let problem = '';
  if (promtool === undefined && canInstallHere()) {
    await installPackages([PACKAGE], report).catch((error: unknown) => (problem = String(error)));
    ({ promtool, docker } = look());
  }
  const program = promtool;
  if (program !== undefined) return { run: (args, folder) => execute(program, args, folder) };
  const engine = docker;
  if (engine !== undefined && (await dockerAnswers(engine))) {
    return { run: (args, folder) => execute(engine, containerRun(args, folder), folder) };
  }
  throw new Error(
    [
      'The alert rules are tested with promtool, of Prometheus, which is not here. Either',
      `- install it (Debian, Ubuntu: apt-get install ${PACKAGE}; Homebrew: brew install ${PACKAGE});`,
      '- run as root on Debian or Ubuntu, and it is installed for you;',
      '- or start Docker.',
      problem,
    ].join('\n'),
  );
}

/** Arguments of `docker` that run promtool on a folder, which it cannot change. */
export function containerRun(args: readonly string[], folder: string): readonly string[] {
  const place = ['--volume', `${folder}:/rules:ro`, '--workdir', '/rules'];
  return ['run', '--rm', '--network', 'none', ...place, '--entrypoint', 'promtool', IMAGE, ...args];
}

function execute(program: string, args: readonly string[], folder: string): ReturnType<Promtool['run']> {
  return new Promise((resolve) => {
    const options = { cwd: folder, timeout: TIMEOUT_MS, env: cleanEnvironment() };
    execFile(program, [...args], options, (error, stdout, stderr) => {
      resolve({ ok: error === null, output: stdout + stderr || (error?.message ?? '') });
    });
  });
}
