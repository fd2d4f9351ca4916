import { spawn } from 'node:child_process';
import { accessSync, constants, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { endOnExit } from './exit-hook.js';
import { cleanEnvironment } from './managed-process.js';
import { canInstall } from './resolution.js';
import type { Report, ServerName } from './server.js';

const PACKAGES: Readonly<Record<ServerName, string>> = {
  postgres: 'postgresql',
  redis: 'redis-server',
  rabbitmq: 'rabbitmq-server',
};

const APT_GET = '/usr/bin/apt-get';
/** Another installation may hold the lock of the package database for this long. */
const LOCK_TIMEOUT_S = 300;
const POLICY = '/usr/sbin/policy-rc.d';
const POLICY_MARK = '# Temporary: Sluice installs servers without starting them as system services.';
const TAIL_LINES = 10;

/** Whether this process can install packages on this machine. */
export function canInstallHere(): boolean {
  const uid = process.getuid?.() ?? -1;
  return canInstall({ uid, osRelease: readIfPresent('/etc/os-release'), aptGet: isExecutable(APT_GET) });
}

/** The arguments of apt-get, run by run, that install packages. */
export function aptRuns(packages: readonly string[], havePackageLists: boolean): readonly (readonly string[])[] {
  const common = ['-q', '-o', `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`];
  const update = ['update', ...common];
  const install = ['install', '-y', '--no-install-recommends', ...common, ...packages];
  return havePackageLists ? [install] : [update, install];
}

/** Installs the servers' packages; see `installPackages`. */
export function installServers(names: readonly ServerName[], report: Report): Promise<void> {
  return installPackages(
    names.map((name) => PACKAGES[name]),
    (message) => names.slice(0, 1).forEach((server) => report({ server, message })),
  );
}

/**
 * Installs packages in one run, without starting what is in them as system services; refreshes the package lists when there are
 * none or when they prove too old. Throws with the end of apt-get's output.
 */
export async function installPackages(
  packages: readonly string[],
  reportLine: (message: string) => void,
): Promise<void> {
  const restorePolicy = forbidServiceStarts();
  try {
    const listed = readdirSync('/var/lib/apt/lists').some((name) => name.endsWith('_Packages'));
    await runAll(aptRuns(packages, listed), reportLine).catch(async (error: unknown) => {
      if (!listed) throw error;
      await runAll(aptRuns(packages, false), reportLine);
    });
  } finally {
    restorePolicy();
  }
}

async function runAll(runs: readonly (readonly string[])[], report: (message: string) => void): Promise<void> {
  for (const run of runs) await aptGet(run, report);
}

function aptGet(args: readonly string[], report: (message: string) => void): Promise<void> {
  report(`apt-get ${args.join(' ')}`);
  const child = spawn(APT_GET, args, {
    env: { ...cleanEnvironment(), DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const tail: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      if (/^(Get:|Unpacking |Setting up |E: |W: )/.test(line)) report(line);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`apt-get ${args[0]} ended with ${code}:\n${tail.join('\n')}`));
    });
  });
}

/**
 * Debian starts a service as soon as its package is installed, unless this file says no. One that exists is somebody
 * else's and stays. Ours says no only while we live, so that it does no harm when we are killed before removing it.
 */
function forbidServiceStarts(): () => void {
  const present = readIfPresent(POLICY);
  if (present && !present.includes(POLICY_MARK)) return () => undefined;
  const remove = (): void => rmSync(POLICY, { force: true });
  const forget = endOnExit(remove);
  writeFileSync(POLICY, servicePolicy(process.pid), { mode: 0o755 });
  return () => {
    remove();
    forget();
  };
}

/** See Debian's specification of policy-rc.d: 101 forbids an action, 104 allows it. */
export function servicePolicy(pid: number): string {
  return ['#!/bin/sh', POLICY_MARK, `if kill -0 ${pid} 2>/dev/null; then exit 101; fi`, 'exit 104', ''].join('\n');
}

function readIfPresent(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
