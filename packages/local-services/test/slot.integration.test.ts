import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { identify } from '../src/process-table.js';
import { acquireSlot, type Slot } from '../src/slot.js';

let directory: string;
const held: Slot[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-slot-test-'));
});
afterEach(() => {
  for (const slot of held.splice(0)) slot.release();
  rmSync(directory, { recursive: true });
});

function acquire(): Slot {
  const slot = acquireSlot(directory);
  held.push(slot);
  return slot;
}

describe('acquireSlot', () => {
  it('gives every holder a slot of its own and a released one to the next', () => {
    const [first, second] = [acquire(), acquire()];
    expect([first.number, second.number]).toEqual([1, 2]);
    first.release();
    first.release();
    expect(acquire().number).toBe(1);
    expect(acquire().number).toBe(3);
  });

  it('takes the slot of an owner that is gone', async () => {
    await leaveLock(await deadProcess());
    expect(acquire().number).toBe(1);
  });

  it('takes the slot of an owner whose number another process has by now', async () => {
    await leaveLock({ pid: process.pid, startedAt: 'another time' });
    expect(acquire().number).toBe(1);
  });

  it('takes a slot whose lock cannot be read', async () => {
    await leaveLock('{"pid":');
    expect(acquire().number).toBe(1);
  });

  it('leaves one lock file, however often a slot changes hands', () => {
    for (let round = 0; round < 5; round++) acquire().release();
    expect(readdirSync(join(directory, 'slot-1'))).toEqual(['lock-10']);
  });

  it('never gives one slot to two processes that take it from a dead owner at the same time', async () => {
    await leaveLock(await deadProcess());
    const source = `
      const { acquireSlot } = await import(${JSON.stringify(new URL('../dist/slot.js', import.meta.url).href)});
      await new Promise((resolve) => process.stdin.once('data', resolve));
      process.stdout.write(acquireSlot(${JSON.stringify(directory)}).number + '\\n');
      process.stdin.once('data', () => process.exit());
    `;
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    const numbers = children.map((child) => once(child.stdout, 'data').then(([text]) => Number(String(text))));
    for (const child of children) child.stdin.write('go\n');
    expect((await Promise.all(numbers)).sort()).toEqual([1, 2, 3, 4]);
    await Promise.all(
      children.map((child) => {
        child.stdin.write('end\n');
        return once(child, 'exit');
      }),
    );
  });
});

async function leaveLock(owner: unknown): Promise<void> {
  acquireSlot(directory).release();
  writeFileSync(join(directory, 'slot-1/lock-9'), typeof owner === 'string' ? owner : JSON.stringify(owner));
}

async function deadProcess() {
  const child = spawn('sleep', ['60']);
  await once(child, 'spawn');
  const identity = identify(child.pid ?? 0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  return identity;
}
