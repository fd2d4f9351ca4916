import { describe, expect, it } from '@jest/globals';
import { createLogger } from '@sluice/runtime';
import { createPrefetchControl } from './prefetch-control.js';

/** A consumer that gets `rate` jobs a second done and has `inFlight` in hand. */
function createFixture({ most = 128, least = 4 } = {}) {
  let nowMs = 0;
  let holdMs: number | undefined = 200;
  const set: number[] = [];
  const consumer = { inFlight: 0, settled: 0, setPrefetch: async (prefetch: number) => void set.push(prefetch) };
  const control = createPrefetchControl({
    consumers: [{ class: 'standard', most, consumer }],
    ...{
      least: () => least,
      holdMs: () => holdMs,
      now: () => nowMs,
      logger: createLogger({ app: 'test', level: 'silent' }),
    },
  });
  /** Three seconds at this rate, then a look. */
  const pass = async (rate: number, inFlight: number) => {
    nowMs += 3_000;
    consumer.settled += rate * 3;
    consumer.inFlight = inFlight;
    await control.look();
    return [...set];
  };
  return {
    pass,
    hold: (ms: number | undefined) => {
      holdMs = ms;
    },
  };
}

describe('the control of the prefetch', () => {
  it('lets a slow worker hold what it gets done in a while', async () => {
    const { pass } = createFixture();
    expect(await pass(100, 128)).toEqual([20]);
  });

  it('lets it hold more again when it is fast, up to the highest', async () => {
    const { pass } = createFixture();
    await pass(100, 128);
    expect(await pass(300, 20)).toEqual([20, 60]);
    expect(await pass(10_000, 60)).toEqual([20, 60, 128]);
  });

  it('holds more for models that may take longer', async () => {
    const { pass, hold } = createFixture();
    expect(await pass(100, 128)).toEqual([20]);
    hold(600);
    expect(await pass(100, 20)).toEqual([20, 60]);
    hold(undefined);
    expect(await pass(1_000, 60)).toEqual([20, 60]);
  });

  it('leaves two for each process, however slow it is', async () => {
    const { pass } = createFixture();
    expect(await pass(1, 128)).toEqual([4]);
    expect(await pass(1, 4)).toEqual([4]);
  });

  it('changes nothing that was not used to the full, or by less than a factor of two', async () => {
    const { pass } = createFixture();
    expect(await pass(10, 60)).toEqual([]);
    expect(await pass(330, 128)).toEqual([]);
  });

  it('learns nothing from a time in which nothing was done', async () => {
    const { pass } = createFixture();
    expect(await pass(0, 128)).toEqual([]);
    expect(await pass(100, 128)).toEqual([20]);
  });

  it('leaves a consumer alone that may hold no more than the least', async () => {
    const { pass } = createFixture({ most: 4 });
    expect(await pass(1, 4)).toEqual([]);
  });
});
