import type { StoreModel } from '@sluice/store/model';
import { MODEL_NAMES } from '../apps/models.js';
import type { Random } from '../../kernel/index.js';

/** A price from one time to another. */
export type SimPrice = Parameters<StoreModel['putPrice']>[0];

/** Nano-USD for a million tokens. */
const FIRST_PRICE = 2_000_000_000n;
const LATER_PRICE = 3_100_000_000n;
/** Nano-USD for a million requests. */
const PER_REQUEST = 1_500_000_000n;

/** What tokens and requests cost; in some runs prices change in their midst. */
export function drawPrices(random: Random, startMs: number): readonly SimPrice[] {
  const changesAtMs = random.chance(0.4) ? startMs + Math.floor(random.between(1_000, 10_000)) : undefined;
  return MODEL_NAMES.flatMap((model): SimPrice[] => [
    { model, meter: 'input', nanoUsdPerMillion: FIRST_PRICE, fromMs: 0, toMs: changesAtMs },
    ...(changesAtMs === undefined
      ? []
      : [{ model, meter: 'input' as const, nanoUsdPerMillion: LATER_PRICE, fromMs: changesAtMs, toMs: undefined }]),
    { model, meter: 'request', nanoUsdPerMillion: PER_REQUEST, fromMs: 0, toMs: undefined },
  ]);
}
