import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';

const MODULE = new URL('../dist/early-signals.js', import.meta.url).href;

/** How a process ends that does this, after `handleEarlySignals`. */
async function endOf(script: string): Promise<readonly [code: number | null, signal: NodeJS.Signals | null]> {
  const source = `import { handleEarlySignals, endEarlySignals } from '${MODULE}'; handleEarlySignals(); ${script}`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], { stdio: 'inherit' });
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return [code, signal];
}

const WAIT = 'setTimeout(() => process.exit(9), 5_000);';

describe('handleEarlySignals', () => {
  it.each(['SIGTERM', 'SIGINT'])('ends the program with 0 on %s', async (signal) => {
    expect(await endOf(`process.kill(process.pid, '${signal}'); ${WAIT}`)).toEqual([0, null]);
  });

  it('lets SIGHUP pass', async () => {
    expect(await endOf(`process.kill(process.pid, 'SIGHUP'); setTimeout(() => process.exit(9), 100);`)).toEqual([
      9,
      null,
    ]);
  });

  it('leaves the signals to those who come after it', async () => {
    const later = `process.on('SIGTERM', () => process.exit(5)); endEarlySignals();`;
    expect(await endOf(`${later} process.kill(process.pid, 'SIGTERM'); ${WAIT}`)).toEqual([5, null]);
    expect(await endOf(`endEarlySignals(); process.kill(process.pid, 'SIGHUP'); ${WAIT}`)).toEqual([null, 'SIGHUP']);
  });
});
