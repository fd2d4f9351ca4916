import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ServiceError } from '@sluice/contracts';
import { createLogger, delay } from '@sluice/runtime';
import type { RunBounds } from '../src/inference/inference-child.js';
import { createCalibration, type CalibrationOptions } from '../src/scheduling/calibration.js';
import { createCostModel, UNMEASURED, type CostCurve, type CostModel } from '../src/scheduling/cost-model.js';
import { measureRuns } from '../src/scheduling/cost-measurement.js';
import { characterModel } from './fixtures.js';
import { createWeighedModel, type WeighedModel } from './weighed-model.js';

const logger = createLogger({ app: 'test', level: 'silent' });
const curve: CostCurve = { perRun: 0.6, perText: 0.02, perToken: 0.01, perPair: 0.0001, crowding: 0.00001 };
const never = new AbortController().signal;

/** What a run comes to. */
const ran = (computeMs: number, cpuMs = computeMs) => ({ rows: new Float32Array(0), computeMs, cpuMs });

/** Processes that are always there. */
const hostOf = (run: CalibrationOptions['host']['run']) => ({ run, canRun: () => true, unavailable: new Map() });

describe('a calibration', () => {
  let weighed: WeighedModel;

  beforeEach(async () => {
    weighed = await createWeighedModel();
  });

  afterEach(() => weighed.remove());

  const files = async () => (await readdir(weighed.kept)).map((name) => join(weighed.kept, name));

  /** A calibration with processes whose runs take what the curve says, and how many there were. */
  function createFixture(overrides: Partial<CalibrationOptions> = {}) {
    const exact = createCostModel({ curve, tripMs: 0 });
    const costs = new Map<string, CostModel>();
    const costOf = (key: string): CostModel => {
      const cost = costs.get(key) ?? createCostModel(UNMEASURED);
      costs.set(key, cost);
      return cost;
    };
    const counts = { runs: 0 };
    const run = async (_model: string, sequences: readonly Int32Array[]) => {
      counts.runs += 1;
      return ran(exact.runMs(sequences.length, sequences[0]?.length ?? 0));
    };
    const calibration = createCalibration({
      ...{ mode: 'auto', directory: weighed.kept, threads: () => 1, provider: 'cpu', loadTimeoutMs: 1_000 },
      ...{ host: hostOf(run), costOf, logger },
      ...overrides,
    });
    return { calibration, costOf, counts };
  }

  /** Calibrates the model once. */
  async function calibrate(overrides: Partial<CalibrationOptions> = {}) {
    const { calibration, costOf, counts } = createFixture(overrides);
    await calibration.calibrate([weighed.keyed], never);
    return { runs: counts.runs, cost: costOf(weighed.keyed.key), calibration };
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
    expect(cost.slowestMs).toBeGreaterThan(exact.runMs(1, 5));
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
    await writeFile(weighed.keyed.model.modelPath, 'other weights');
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
    const { runs, cost } = await calibrate({ directory: join(weighed.keyed.model.modelPath, 'below-a-file') });
    expect(runs).toBeGreaterThan(0);
    expectMeasured(cost);
  });

  it('does not keep what was measured while the machine did something else', async () => {
    let runs = 0;
    const run = async () => ran((runs += 1) % 2 === 0 ? 1 : 500);
    await calibrate({ host: hostOf(run) });
    await expect(files()).rejects.toThrow(/ENOENT/);
  });

  /** A run is interrupted for 8 ms after each 2 ms that it computed. */
  const interrupted = async (_model: string, sequences: readonly Int32Array[]) => {
    const cpuMs = createCostModel({ curve, tripMs: 0 }).runMs(sequences.length, sequences[0]?.length ?? 0);
    return ran(cpuMs + 8 * Math.floor(cpuMs / 2), cpuMs);
  };

  it('is not misled by a machine that interrupts long runs', async () => {
    const { cost } = await calibrate({ host: hostOf(interrupted) });
    expectMeasured(cost);
  });

  it.each([
    ['several threads compute', { threads: () => 2 }],
    ['a graphics card computes', { provider: 'cuda' }],
  ] as const)('goes by the time that passed where %s', async (_what, circumstances) => {
    const { cost } = await calibrate({ host: hostOf(interrupted), ...circumstances });
    expect(cost.runMs(16, 100)).toBeGreaterThan(3 * createCostModel({ curve, tripMs: 0 }).runMs(16, 100));
  });

  it('goes by the time that passed where processor time is counted in large steps', async () => {
    const exact = createCostModel({ curve, tripMs: 0 });
    const run = async (_model: string, sequences: readonly Int32Array[]) =>
      ran(exact.runMs(sequences.length, sequences[0]?.length ?? 0), 0);
    const { cost } = await calibrate({ host: hostOf(run) });
    expectMeasured(cost);
  });

  it('leaves a model as not measured that cannot be run', async () => {
    const { cost } = await calibrate({ host: hostOf(() => Promise.reject(new Error('no process'))) });
    expect(cost.runMs(2, 30)).toBe(createCostModel(UNMEASURED).runMs(2, 30));
  });

  it('measures and reads nothing when it is off', async () => {
    await calibrate();
    const { runs, cost, calibration } = await calibrate({ mode: 'off' });
    expect(await calibration.recall([weighed.keyed])).toEqual([weighed.keyed]);
    expect([runs, cost.runMs(2, 30)]).toEqual([0, createCostModel(UNMEASURED).runMs(2, 30)]);
  });

  it('takes from files what they tell while work goes on, and measures nothing', async () => {
    const { runs, cost, calibration } = await calibrate({
      mode: 'auto',
      host: hostOf(() => Promise.reject(new Error())),
    });
    expect(await calibration.recall([weighed.keyed])).toEqual([weighed.keyed]);
    expect(cost.runMs(2, 30)).toBe(createCostModel(UNMEASURED).runMs(2, 30));
    await calibrate();
    expect(await calibration.recall([weighed.keyed])).toEqual([]);
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
    const { file } = weighed.keyed.model;
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

  const crashed = new ServiceError('inference_crashed', 'The inference process ended during the run.');
  const refused = new ServiceError('inference_failed', 'The model could not process the input.');

  /** Processes of which runs of more tokens of one model end the only one, until it is replaced. */
  function createCrashingHost(crashing: string, mostTokens: number): CalibrationOptions['host'] {
    const exact = createCostModel({ curve, tripMs: 0 });
    let isThere = true;
    return {
      unavailable: new Map(),
      canRun: () => isThere,
      async run(model, sequences) {
        if (!isThere) throw new ServiceError('model_unavailable', 'No idle inference process has the model.');
        const length = sequences[0]?.length ?? 0;
        if (model !== crashing || sequences.length * length <= mostTokens) {
          return ran(exact.runMs(sequences.length, length));
        }
        isThere = false;
        setTimeout(() => (isThere = true), 30);
        throw crashed;
      },
    };
  }

  it('measures the other models when one ends its process', async () => {
    const { calibration, costOf } = createFixture({ host: createCrashingHost('crashing/1', 0) });
    await calibration.calibrate([{ ...weighed.keyed, key: 'crashing/1' }, weighed.keyed], never);
    expectMeasured(costOf(weighed.keyed.key));
    expect(costOf('crashing/1').runMs(2, 30)).toBe(createCostModel(UNMEASURED).runMs(2, 30));
    expect(await files()).toHaveLength(1);
  });

  it('goes by what it measured of a model until that ended its process, and does not keep it', async () => {
    const { cost } = await calibrate({ host: createCrashingHost(weighed.keyed.key, 300) });
    const exact = createCostModel({ curve, tripMs: 0 });
    expect(cost.runMs(4, 50) / exact.runMs(4, 50)).toBeCloseTo(1, 1);
    await expect(files()).rejects.toThrow(/ENOENT/);
  });

  it('measures other runs of a model that refuses some', async () => {
    const exact = createCostModel({ curve, tripMs: 0 });
    const alone = async (_model: string, sequences: readonly Int32Array[]) => {
      if (sequences.length > 1) throw refused;
      return ran(exact.runMs(1, sequences[0]?.length ?? 0));
    };
    const { cost } = await calibrate({ host: hostOf(alone) });
    expect(cost.runMs(1, 70) / exact.runMs(1, 70)).toBeCloseTo(1, 1);
    expect(await files()).toHaveLength(1);
  });

  it('waits no longer for a process than one may take to load its models', async () => {
    const host = { ...hostOf(() => Promise.reject(crashed)), canRun: () => false };
    const { cost } = await calibrate({ host, loadTimeoutMs: 30 });
    expect(cost.runMs(2, 30)).toBe(createCostModel(UNMEASURED).runMs(2, 30));
  });

  it('ends at once when it is stopped, and keeps nothing', async () => {
    const stopping = new AbortController();
    let runs = 0;
    const run = async (_model: string, _sequences: readonly Int32Array[], { stop }: RunBounds = {}) => {
      runs += 1;
      if (runs < 8) return ran(1);
      const stopped = new Promise<never>((_, reject) => {
        stop?.addEventListener('abort', () => reject(new Error('stopped')));
      });
      stopping.abort();
      return stopped;
    };
    const { calibration, costOf } = createFixture({ host: hostOf(run) });
    await calibration.calibrate([weighed.keyed, { ...weighed.keyed, key: 'other/1' }], stopping.signal);
    expect(runs).toBe(8);
    expect(costOf(weighed.keyed.key).runMs(2, 30)).toBe(createCostModel(UNMEASURED).runMs(2, 30));
    await expect(files()).rejects.toThrow(/ENOENT/);
  });
});
