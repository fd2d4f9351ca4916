import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { watch } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { LOCAL, ROOT } from '../src/paths.js';

const execute = promisify(execFile);

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
  /** Resolves when the output matches, rejects with the output when the program ends first. */
  const printed = (pattern: RegExp): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => void (pattern.test(output) && resolve());
      child.stdout.on('data', look);
      void ended.then(() => reject(new Error(output)));
      look();
    });
  return { child, ended, printed, output: () => output };
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

  it('says at once that a port it was told to use is taken', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    const { code, output } = await start(['--port', String(port)]).ended;
    holder.close();
    expect({ code, output: output.trim() }).toEqual({ code: 1, output: `port ${port} is in use` });
  });

  it('serves, restarts what dies, and after Ctrl-C leaves nothing but work that the next start finishes', async () => {
    const first = start(['--port', '0']);
    const { file, run } = await serving(first);
    expect(file.startsWith(LOCAL)).toBe(true);
    const models = await fetch(`${run.url}/v1/models`, { headers: bearer(run) });
    expect(models.status).toBe(200);
    const pids = Object.values(run.pids);
    expect(pids.length).toBeGreaterThanOrEqual(6);
    expect(pids.filter(isAlive)).toEqual(pids);

    expect(await pasteCommands(first.output())).toEqual([
      expect.objectContaining({ object: 'job', model: 'guesslang' }),
      expect.objectContaining({ object: 'job', state: 'succeeded' }),
    ]);

    const victims = ['redis', 'postgres', 'rabbitmq', 'ml-worker-1'] as const;
    for (const name of victims) {
      process.kill(run.pids[name] ?? 0, 'SIGKILL');
      await first.printed(new RegExp(`${name}.* ended`));
      await changed(file, ({ pids: now }) => now[name] !== run.pids[name] && isAlive(now[name] ?? 0));
    }
    const restarted = readRun(file);
    const present = Object.values(restarted.pids);
    expect(present.filter(isAlive)).toEqual(present);

    await Promise.all(Array.from({ length: 200 }, (_, index) => submit(restarted, `const n = ${index};\n`)));
    first.child.kill('SIGINT');
    const { code, output } = await first.ended;
    expect(output).toContain('Nothing is left running.');
    expect(output).not.toContain('✗');
    expect(code).toBe(0);
    expect(present.filter(isAlive)).toEqual([]);
    expect(existsSync(file)).toBe(false);

    const second = start(['--port', '0', '--quiet']);
    const { run: next } = await serving(second);
    expect((await fetch(`${next.url}/v1/quota`, { headers: bearer(run) })).status).toBe(401);
    second.child.kill('SIGINT');
    const end = await second.ended;
    expect(end.output).not.toContain('✗');
    expect(end.code).toBe(0);
  });
});

interface Run {
  readonly url: string;
  readonly demo: { readonly key: string };
  readonly pids: Readonly<Record<string, number>>;
}

function readRun(file: string): Run {
  return JSON.parse(readFileSync(file, 'utf8')) as Run;
}

function bearer({ demo }: Run): Record<string, string> {
  return { authorization: `Bearer ${demo.key}` };
}

async function serving(running: ReturnType<typeof start>): Promise<{ file: string; run: Run }> {
  await running.printed(/Ctrl-C/);
  const file = /servers, keys and pids: (\S+)/.exec(running.output())?.[1] ?? '';
  return { file, run: readRun(file) };
}

/** Resolves when the run file says so. */
async function changed(file: string, isRight: (run: Run) => boolean): Promise<void> {
  const changes = watch(dirname(file))[Symbol.asyncIterator]();
  let next = changes.next();
  while (!isRight(readRun(file))) {
    await next;
    next = changes.next();
  }
  await changes.return?.();
}

/** The commands that a start prints, run by a shell as they stand; the answers. */
async function pasteCommands(output: string): Promise<readonly unknown[]> {
  const commands = output.split('\n\n').filter((paragraph) => paragraph.startsWith('  curl '));
  const answers: unknown[] = [];
  for (const command of commands) answers.push(JSON.parse((await execute('bash', ['-c', command])).stdout));
  return answers;
}

/** Servers that have just come back may not be connected yet; what is accepted under one key is one job. */
async function submit(run: Run, input: string): Promise<void> {
  const headers = { ...bearer(run), 'content-type': 'application/json', 'idempotency-key': randomUUID() };
  const body = JSON.stringify({ model: 'guesslang', input });
  for (;;) {
    const { status } = await fetch(`${run.url}/v1/jobs`, { method: 'POST', headers, body });
    if (status === 202) return;
    expect([429, 503]).toContain(status);
    await sleep(100);
  }
}
