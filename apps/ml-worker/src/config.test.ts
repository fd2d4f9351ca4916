import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { loadConfig } from './config.js';

const environment = {
  SLUICE_RABBITMQ_URL: 'amqp://user:secret@localhost',
  SLUICE_CONFIG_DIR: fileURLToPath(new URL('../../../config', import.meta.url)),
};

describe('the configuration', () => {
  it('has a default for everything but the broker', async () => {
    const config = await loadConfig(environment);
    expect(config).toMatchObject({
      pool: 'text',
      batch: { maxTokens: 16_384, maxPadding: 0.5, maxDelayMs: 2, targetLatencyMs: 50 },
      calibration: { mode: 'auto', directory: '.local/calibration' },
      inference: {
        threads: 1,
        provider: { name: 'cpu' },
        timeoutMs: 30_000,
        loadTimeoutMs: 120_000,
        memoryLimitBytes: undefined,
      },
      drainTimeoutMs: 25_000,
      ops: { port: undefined },
    });
    expect(config.inference.processes).toBe(availableParallelism());
  });

  it('divides the cores among processes of several threads, at least one process', async () => {
    const { inference } = await loadConfig({ ...environment, SLUICE_INFERENCE_THREADS: '256' });
    expect(inference).toMatchObject({ processes: 1, threads: 256 });
  });

  it('leaves the division of the cores to calibration unless it is set, or a graphics card computes', async () => {
    const mayBeDivided = async (settings: Readonly<Record<string, string>>) =>
      (await loadConfig({ ...environment, ...settings })).inference.mayBeDivided;
    expect(await mayBeDivided({})).toBe(true);
    expect(await mayBeDivided({ SLUICE_INFERENCE_PROCESSES: '2' })).toBe(false);
    expect(await mayBeDivided({ SLUICE_INFERENCE_THREADS: '1' })).toBe(false);
    expect(await mayBeDivided({ SLUICE_EXECUTION_PROVIDER: 'cuda' })).toBe(false);
  });

  it('takes a limit of memory and a graphics card for the inference processes', async () => {
    const settings = { SLUICE_INFERENCE_MEMORY: '2GiB', SLUICE_EXECUTION_PROVIDER: 'cuda', SLUICE_CUDA_DEVICE: '1' };
    expect((await loadConfig({ ...environment, ...settings })).inference).toMatchObject({
      memoryLimitBytes: 2 ** 31,
      provider: { name: 'cuda', deviceId: 1 },
    });
  });

  it('keeps its own variables, which hold secrets, from the inference processes', async () => {
    const config = await loadConfig({ ...environment, LANG: 'C' });
    expect(config.inference.environment).toEqual({ LANG: 'C' });
  });

  it('reports every variable that is wrong', async () => {
    const wrong = {
      SLUICE_RABBITMQ_URL: 'http://x',
      SLUICE_BATCH_MAX_PADDING: '2',
      SLUICE_INFERENCE_PROCESSES: 'many',
    };
    await expect(loadConfig({ ...environment, ...wrong })).rejects.toMatchObject({
      problems: [
        expect.stringMatching(/^SLUICE_RABBITMQ_URL: /),
        expect.stringMatching(/^SLUICE_INFERENCE_PROCESSES: /),
        expect.stringMatching(/^SLUICE_BATCH_MAX_PADDING: /),
      ],
    });
  });

  it('reports what is wrong with the environment and with the file at once', async () => {
    const wrong = { SLUICE_LOG_LEVEL: 'loud', SLUICE_CONFIG_DIR: '/does/not/exist' };
    await expect(loadConfig({ ...environment, ...wrong })).rejects.toMatchObject({
      problems: [
        'SLUICE_LOG_LEVEL: must be one of debug, info, warn, error, silent',
        '/does/not/exist/models.yaml: cannot be read: there is no such file',
      ],
    });
  });

  it('refuses a pool that does not exist', async () => {
    await expect(loadConfig({ ...environment, SLUICE_POOL: 'images' })).rejects.toMatchObject({
      problems: ['SLUICE_POOL: must be one of the pools of models.yaml (text)'],
    });
  });
});
