import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const PROGRAM = fileURLToPath(new URL('../test/program.mjs', import.meta.url));

/** Runs a program until it is ready, tells it to end, and waits until it has. */
async function ended(mode: string): Promise<{ readonly code: number; readonly ms: number; readonly output: string }> {
  const child = fork(PROGRAM, [mode], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await once(child, 'message');
  const beganMs = performance.now();
  child.kill('SIGTERM');
  const [code] = (await once(child, 'close')) as [number];
  return { code, ms: performance.now() - beganMs, output };
}

describe('a program that is told to end', () => {
  it('flushes after it has drained', async () => {
    const { code, output } = await ended('quick');
    expect(code).toBe(0);
    expect(output).toMatch(/drained[^]*flushing[^]*has ended/);
  });

  it('ends well, and soon after its drain timeout, when the flush never does', async () => {
    const { code, ms, output } = await ended('hanging-flush');
    expect(code).toBe(0);
    expect(output).toContain('has ended');
    expect(ms).toBeLessThan(10_000);
  });

  it('ends well when the flush fails', async () => {
    expect((await ended('failing-flush')).code).toBe(0);
  });

  it('flushes a moment even when its drain took all the time there was, and says by its exit code that it did', async () => {
    const { code, output } = await ended('hanging-drain');
    expect(code).toBe(1);
    expect(output).toMatch(/did not drain[^]*flushing within 250 ms/);
  });
});
