import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { LOCAL, ROOT } from '../src/paths.js';

/** Runs the compiled start program as a user does, without the servers of the tests. */
function start(args: readonly string[]) {
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_')));
  const child = spawn(process.execPath, [join(ROOT, 'scripts/dist/start.js'), ...args], {
    cwd: ROOT,
    env: environment,
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<{ code: number | null; output: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, output })),
  );
  return { child, ended, output: () => output };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('npm start', () => {
  it('refuses an option it does not know', async () => {
    const { code, output } = await start(['--gatways', '2']).ended;
    expect(code).toBe(1);
    expect(output).toContain('--gatways');
  });

  it('serves until it is interrupted, tells where in a private file, and leaves nothing behind', async () => {
    const running = start(['--port', '0']);
    const file = await new Promise<string>((resolve, reject) => {
      void running.ended.then(({ output }) => reject(new Error(output)));
      running.child.stdout.on('data', () => {
        const match = /servers, keys and pids: (\S+)/.exec(running.output());
        if (match?.[1] !== undefined && running.output().includes('Ctrl-C')) resolve(match[1]);
      });
    });
    expect(file.startsWith(LOCAL)).toBe(true);
    const run = JSON.parse(readFileSync(file, 'utf8')) as {
      url: string;
      demo: { key: string };
      pids: Record<string, number>;
    };
    const models = await fetch(`${run.url}/v1/models`, { headers: { authorization: `Bearer ${run.demo.key}` } });
    expect(models.status).toBe(200);
    const pids = Object.values(run.pids);
    expect(pids.length).toBeGreaterThanOrEqual(6);
    expect(pids.filter(isAlive)).toEqual(pids);

    running.child.kill('SIGINT');
    const { code, output } = await running.ended;
    expect(output).toContain('Nothing is left running.');
    expect(output).not.toContain('✗');
    expect(code).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(existsSync(file)).toBe(false);
  });
});
