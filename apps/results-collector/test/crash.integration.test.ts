import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { delay } from '@sluice/runtime';
import { QUEUES } from '@sluice/contracts';
import { eachWithBench } from './fixture.js';
import { completedMessage } from './messages.js';
import { eventually, inputTokensOf, shuffled, type Bench } from './workbench.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const KILLS = 6;

let bench: Bench;
const children = new Set<ChildProcess>();
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
});
eachWithBench((fresh) => (bench = fresh));

/** The program as it is shipped; resolves when it says that it works. */
async function startProgram(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN], {
    env: { ...process.env, ...bench.environment, SLUICE_BATCH_MAX: '10', SLUICE_BATCH_LINGER: '1' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the program ended with ${code} before it was ready`);
  });
  ended.catch(() => undefined);
  await Promise.race([once(child, 'message'), ended]);
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exited = once(child, 'exit');
  child.kill(signal);
  const [code] = (await exited) as [number | null];
  return code;
}

describe('the collector program', () => {
  it(`killed ${KILLS} times while facts flow records and settles every job once`, async () => {
    const jobs = await bench.heldJobs(60 * KILLS);
    const sum = inputTokensOf(jobs);
    for (let kill = 0; kill < KILLS; kill++) {
      const child = await startProgram();
      const some = jobs.slice(kill * 60, (kill + 1) * 60);
      const sends = some.flatMap((job) => [() => bench.publish(job), () => bench.publish(completedMessage(job))]);
      const sent = Promise.all(shuffled(sends).map((send) => send()));
      // A random moment of the 20 or so it takes to record, settle and acknowledge them.
      await delay(Math.random() * 60);
      await end(child, 'SIGKILL');
      await sent;
    }

    const child = await startProgram();
    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
    const { length } = jobs;
    const ledger = await bench.ledgerWith(2 * length);
    expect(ledger).toEqual({ reserves: length, terminals: length, entries: 2 * length, tokens: sum });
    expect(await bench.discrepancies()).toEqual([]);
    expect(await bench.query('SELECT * FROM dead_letters')).toEqual([]);
    expect(await end(child, 'SIGTERM')).toBe(0);
    expect(await bench.depth(QUEUES.results)).toBe(0);
  });

  it('finishes the batches in progress when told to end, and leaves the rest in the queue', async () => {
    const jobs = await bench.heldJobs(300);
    const sum = inputTokensOf(jobs);
    await Promise.all(jobs.flatMap((job) => [bench.publish(job), bench.publish(completedMessage(job))]));
    const first = await startProgram();
    await eventually(
      () => bench.tokens(),
      ({ used }) => used > 0,
    );
    expect(await end(first, 'SIGTERM')).toBe(0);
    const { entries } = await bench.ledger();
    expect(entries + (await bench.depth(QUEUES.results))).toBe(2 * jobs.length);

    await startProgram();
    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
  });

  it('prints every problem of its configuration and ends with 78', async () => {
    const child = spawn(process.execPath, [MAIN], {
      env: { PATH: process.env['PATH'], SLUICE_BATCH_MAX: 'many' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let problems = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (problems += text));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(78);
    expect(problems).toMatch(/SLUICE_POSTGRES_URL: is missing[^]*SLUICE_BATCH_MAX: must be a whole number/);
  });
});
