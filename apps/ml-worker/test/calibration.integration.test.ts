import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { asTextModel } from '@sluice/models';
import { createLogger, delay } from '@sluice/runtime';
import type { KeyedModel } from '../src/inference/inference-protocol.js';
import { createCalibration, type CalibrationOptions } from '../src/scheduling/calibration.js';
import { createCostModel, UNMEASURED, type CostCurve, type CostModel } from '../src/scheduling/cost-model.js';
import { measureRuns } from '../src/scheduling/cost-measurement.js';
import { characterModel, tinyJob } from './fixtures.js';
import { openRig, prepareModels, type ModelFixture, type Rig } from './rig.js';

const logger = createLogger({ app: 'test', level: 'silent' });
const curve: CostCurve = { perRun: 0.6, perText: 0.02, perToken: 0.01, perPair: 0.0001, crowding: 0.00001 };

/** What a run comes to. */
const ran = (computeMs: number, cpuMs = computeMs) => ({ rows: new Float32Array(0), computeMs, cpuMs });

describe('a calibration', () => {
  let directory: string;
  let keyed: KeyedModel;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-calibration-'));
    const { key, model } = characterModel();
    const modelPath = join(directory, 'model.onnx');
    await writeFile(modelPath, 'weights');
    keyed = { key, model: { ...model, directory, modelPath } };
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  const folder = () => join(directory, 'kept', 'here');
  const files = async () => (await readdir(folder())).map((name) => join(folder(), name));

  /** Calibrates once with a host whose runs take what the curve says. */
  async function calibrate(overrides: Partial<CalibrationOptions> = {}) {
    const exact = createCostModel({ curve, tripMs: 0 });
    const cost = createCostModel(UNMEASURED);
    let runs = 0;
    const run = async (_model: string, sequences: readonly Int32Array[]) => {
      runs += 1;
      return ran(exact.runMs(sequences.length, sequences[0]?.length ?? 0));
    };
    const calibration = createCalibration({
      ...{
        mode: 'auto',
        directory: folder(),
        threads: () => 1,
        provider: 'cpu',
        host: { run },
        costOf: () => cost,
        logger,
      },
      ...overrides,
    });
    await calibration.calibrate([keyed]);
    return { runs, cost, calibration };
  }

  const expectMeasured = (cost: CostModel) => {
    const exact = createCostModel({ curve, tripMs: 0 });
    for (const [texts, length] of [
      [1, 5],
      [3, 70],
      [20, 100],
    ] as const) {
      expect(cost.runMs(texts, length) / exact.runMs(texts, length)).toBeCloseTo(1, 3);
    }
  };

  it('measures a model once, and reads what it came to at the next start', async () => {
    const first = await calibrate();
    expect(first.runs).toBeGreaterThan(0);
    expectMeasured(first.cost);
    expect(await files()).toHaveLength(1);
    const second = await calibrate();
    expect(second.runs).toBe(0);
    expectMeasured(second.cost);
  });

  it('measures again when told to, and when model, threads or what computes are others', async () => {
    await calibrate();
    expect((await calibrate({ mode: 'always' })).runs).toBeGreaterThan(0);
    expect((await calibrate({ threads: () => 2 })).runs).toBeGreaterThan(0);
    expect((await calibrate({ provider: 'cuda' })).runs).toBeGreaterThan(0);
    await writeFile(keyed.model.modelPath, 'other weights');
    expect((await calibrate()).runs).toBeGreaterThan(0);
    expect(await files()).toHaveLength(4);
  });

  it.each([
    ['cut off', (text: string) => text.slice(0, -20)],
    ['of another model', (text: string) => text.replace('characters/1', 'characters/2')],
    ['without a point', (text: string) => JSON.stringify({ ...(JSON.parse(text) as object), points: [] })],
  ])('measures again when the file is %s', async (_how, damage) => {
    await calibrate();
    const [file = ''] = await files();
    await writeFile(file, damage(await readFile(file, 'utf8')));
    const again = await calibrate();
    expect(again.runs).toBeGreaterThan(0);
    expectMeasured(again.cost);
    expect((await calibrate()).runs).toBe(0);
  });

  it('goes on when what it measured cannot be kept', async () => {
    const { runs, cost } = await calibrate({ directory: join(keyed.model.modelPath, 'below-a-file') });
    expect(runs).toBeGreaterThan(0);
    expectMeasured(cost);
  });

  it('does not keep what was measured while the machine did something else', async () => {
    let runs = 0;
    const run = async () => ran((runs += 1) % 2 === 0 ? 1 : 500);
    await calibrate({ host: { run } });
    await expect(files()).rejects.toThrow(/ENOENT/);
  });

  /** A run is interrupted for 8 ms after each 2 ms that it computed. */
  const interrupted = async (_model: string, sequences: readonly Int32Array[]) => {
    const cpuMs = createCostModel({ curve, tripMs: 0 }).runMs(sequences.length, sequences[0]?.length ?? 0);
    return ran(cpuMs + 8 * Math.floor(cpuMs / 2), cpuMs);
  };

  it('is not misled by a machine that interrupts long runs', async () => {
    const { cost } = await calibrate({ host: { run: interrupted } });
    expectMeasured(cost);
  });

  it.each([
    ['several threads compute', { threads: () => 2 }],
    ['a graphics card computes', { provider: 'cuda' }],
  ] as const)('goes by the time that passed where %s', async (_what, circumstances) => {
    const { cost } = await calibrate({ host: { run: interrupted }, ...circumstances });
    expect(cost.runMs(16, 100)).toBeGreaterThan(3 * createCostModel({ curve, tripMs: 0 }).runMs(16, 100));
  });

  it('goes by the time that passed where processor time is counted in large steps', async () => {
    const exact = createCostModel({ curve, tripMs: 0 });
    const run = async (_model: string, sequences: readonly Int32Array[]) =>
      ran(exact.runMs(sequences.length, sequences[0]?.length ?? 0), 0);
    const { cost } = await calibrate({ host: { run } });
    expectMeasured(cost);
  });

  it('leaves a model as not measured that cannot be run', async () => {
    const { cost } = await calibrate({ host: { run: () => Promise.reject(new Error('no process')) } });
    expect(cost.runMs(2, 30)).toBe(createCostModel(UNMEASURED).runMs(2, 30));
  });

  it('measures and reads nothing when it is off', async () => {
    await calibrate();
    const { runs, cost, calibration } = await calibrate({ mode: 'off' });
    expect(await calibration.recall([keyed])).toEqual([keyed]);
    expect([runs, cost.runMs(2, 30)]).toEqual([0, createCostModel(UNMEASURED).runMs(2, 30)]);
  });

  it('takes from files what they tell while work goes on, and measures nothing', async () => {
    const { runs, cost, calibration } = await calibrate({
      mode: 'auto',
      host: { run: () => Promise.reject(new Error()) },
    });
    expect(await calibration.recall([keyed])).toEqual([keyed]);
    expect(cost.runMs(2, 30)).toBe(createCostModel(UNMEASURED).runMs(2, 30));
    await calibrate();
    expect(await calibration.recall([keyed])).toEqual([]);
    expectMeasured(cost);
    expect(runs).toBe(0);
  });

  it('ends when its time is up, however slow the model is', async () => {
    let runs = 0;
    const run = async () => {
      runs += 1;
      await delay(30);
      return ran(30);
    };
    const { file } = asTextModel(keyed.model);
    const { points } = await measureRuns({ file, run, budgetMs: 200, byCpu: true });
    expect(runs).toBeLessThanOrEqual(8);
    expect(points.length).toBeGreaterThan(0);
  });

  it('measures texts one by one of a model that takes them so', async () => {
    const { model } = characterModel({ quantisation: 'dynamic' });
    const run = async () => ran(1);
    const { points } = await measureRuns({ file: model.file, run, budgetMs: 200, byCpu: true });
    expect(new Set(points.map(({ texts }) => texts))).toEqual(new Set([1]));
  });
});

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
});
