import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const suite = new URL('rabbitmq-suite.mjs', import.meta.url).href;

/** Runs the real packages/broker on the simulated RabbitMQ, in a process of its own. */
async function simulate(...args: string[]): Promise<{ code: number | null; stdout: string }> {
  const child = spawn(process.execPath, [program, '--suite', suite, ...args]);
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout };
}

describe('packages/broker on the simulated RabbitMQ', () => {
  it('records every confirmed fact, and nothing after a fence that was reserved before it, whatever dies', async () => {
    const { code, stdout } = await simulate('--seeds', '30', '--processes', '2', '--verify', '15');
    expect(stdout).toContain('Every invariant held.');
    expect(code).toBe(0);
  }, 120_000);

  it.each([
    ['acks early', /fence|recorded/],
    ['fence passes at once', /fence/],
    ['publishes after a lost connection', /fence/],
    ['drops markers', /passes/],
  ])(
    'finds out when the suite %s',
    async (defect, invariant) => {
      const { code, stdout } = await simulate('--seeds', '10', '--processes', '1', '--defect', defect);
      const [, found = 'nothing'] = /^Seed \d+, trace [0-9a-f]+: (.*)$/m.exec(stdout) ?? [];
      expect(found).toMatch(invariant);
      expect(code).toBe(1);
    },
    60_000,
  );
});
