import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { startApp } from '../src/app-process.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-app-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('startApp', () => {
  it('says why an app ended before it was ready, from what that app wrote and no earlier one', async () => {
    const logFile = join(directory, 'api-gateway-1.log');
    await writeFile(logFile, '{"level":"fatal","msg":"of an earlier process"}\n');
    const starting = startApp({ app: 'api-gateway', name: 'api-gateway-1', environment: {}, logFile });
    const { message } = await starting.then(
      () => new Error('it became ready'),
      (error: unknown) => error as Error,
    );
    expect(message).toMatch(/^api-gateway-1 ended before it was ready \(exit code 78\): /);
    expect(message).toContain('SLUICE_POSTGRES_URL');
    expect(message).not.toContain('earlier');
    expect(message).toContain(logFile);
  });
});
