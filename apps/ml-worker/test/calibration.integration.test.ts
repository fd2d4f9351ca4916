import { readdir } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createLogger, delay } from '@sluice/runtime';
import { loadConfig } from '../src/config.js';
import { createCostModel, UNMEASURED } from '../src/scheduling/cost-model.js';
import { tinyJob } from './fixtures.js';
import { createWorker } from '../src/worker.js';
import { openRig, prepareModels, type ModelFixture, type Rig } from './rig.js';

const logger = createLogger({ app: 'test', level: 'silent' });
/** Inference processes that are never warm. */
const silentModule = fileURLToPath(new URL('./silent-process.mjs', import.meta.url));

/** Processes that this one has started and that live. */
function childrenNow(): readonly string[] {
  return readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);
}

describe('a worker with calibration', () => {
  let models: ModelFixture;
  let rig: Rig;

  beforeAll(async () => {
    models = await prepareModels();
    rig = await openRig(models);
  });

  afterAll(async () => {
    await rig.release();
    await rig.close();
    await models.remove();
  });

  it('measures every model before it takes jobs, and keeps what it found', async () => {
    const directory = join(models.modelDirectory, 'calibration');
    const worker = await rig.worker({ SLUICE_CALIBRATION: 'auto', SLUICE_CALIBRATION_DIR: directory });
    const unmeasured = Math.round(createCostModel(UNMEASURED).bestTokens);
    const { batching } = (await worker.health()).detail;
    expect(Object.keys(batching).sort()).toEqual(['guesslang/1', 'tiny/1', 'use-lite-en-int8/1', 'use-lite-en/1']);
    for (const { bestTokens } of Object.values(batching)) expect(bestTokens).not.toBe(unmeasured);
    const job = tinyJob('abc');
    await rig.submit([job]);
    await rig.until(() => rig.completions.has(job.jobId));
    // n.b. on a machine with much else to do a measurement may be too uneven to be kept.
    const kept = await readdir(directory).catch(() => []);
    for (const name of kept)
      expect(name).toMatch(/^(use-lite-en|use-lite-en-int8|guesslang|tiny)-1-[0-9a-f]{12}\.json$/);
  });

  it('divides the cores by what it measured where nobody says how, and keeps that', async () => {
    const directory = join(models.modelDirectory, 'division');
    const settings = { SLUICE_INFERENCE_PROCESSES: undefined, SLUICE_CALIBRATION_DIR: directory };
    const worker = await rig.worker({ ...settings, SLUICE_CALIBRATION: 'auto' });
    const cores = availableParallelism();
    const { wanted, threads } = (await worker.health()).detail.inferenceProcesses;
    expect(wanted).toBe(Math.floor(cores / threads));
    const kept = (await readdir(directory).catch(() => [])).filter((name) => name.startsWith('split-'));
    expect(kept).toHaveLength(cores > 1 ? 1 : 0);
    const job = tinyJob('abc');
    await rig.submit([job]);
    await rig.until(() => rig.completions.has(job.jobId));
  });

  it('ends at once when it is told to while it looks for the best division', async () => {
    const { SLUICE_INFERENCE_PROCESSES: _absent, ...settings } = rig.environment;
    const config = await loadConfig({ ...settings, SLUICE_CALIBRATION: 'always' });
    const worker = await createWorker({ config, logger, inferenceModulePath: silentModule });
    const before = new Set(childrenNow());
    const processes = () => childrenNow().filter((pid) => !before.has(pid));
    const started = worker.start();
    while (processes().length === 0) await delay(10);
    await worker.stop();
    await started;
    expect([worker.state, processes()]).toEqual(['stopped', []]);
  });
});
