import type { Meter } from '@sluice/contracts';
import type { CompletedFact } from '../facts.js';
import type { NewPriceVersion, PriceVersion } from '../price-plan.js';
import { compareText } from './tables.js';

const DAY_MS = 86_400_000;

/** The table `price_versions`. */
export interface PriceTable {
  /**
   * Adds a version.
   *
   * @throws Error when another of its model and meter is in force at the same time.
   */
  put(price: NewPriceVersion): void;
  /** As `Prices.findPrices`. */
  find(nowMs: number): readonly PriceVersion[];
  /** What a completed fact is billed, nano-USD, at the prices of when its job was accepted. */
  amountOf(fact: CompletedFact, jobAtMs: number): bigint;
}

export function createPriceTable(): PriceTable {
  const versions = new Map<string, PriceVersion[]>();
  let lastId = 0n;

  function inForce(model: string, meter: Meter, atMs: number): bigint {
    const found = versions.get(keyOf(model, meter))?.find((one) => one.fromMs <= atMs && atMs < endOf(one));
    return found?.nanoUsdPerMillion ?? 0n;
  }

  return {
    put(price) {
      const key = keyOf(price.model, price.meter);
      const others = versions.get(key) ?? [];
      if (others.some((one) => one.fromMs < endOf(price) && price.fromMs < endOf(one))) {
        throw new Error(`prices overlap: ${price.model} ${price.meter}`);
      }
      versions.set(key, [...others, { ...price, priceId: (lastId += 1n) }]);
    },

    find(nowMs) {
      return [...versions.values()]
        .flat()
        .filter((one) => endOf(one) > nowMs - DAY_MS)
        .sort((a, b) => compareText(a.model, b.model) || compareText(a.meter, b.meter) || a.fromMs - b.fromMs);
    },

    amountOf({ model, state, usage }, jobAtMs) {
      if (state === 'expired' || (state !== 'succeeded' && usage.inputTokens + usage.outputTokens === 0)) return 0n;
      const price = (meter: Meter): bigint => inForce(model, meter, jobAtMs);
      const exact =
        BigInt(usage.inputTokens - usage.cachedTokens) * price('input') +
        BigInt(usage.cachedTokens) * price('cached') +
        BigInt(usage.outputTokens) * price('output') +
        price('request');
      // Half away from zero; nothing here is negative.
      return (exact + 500_000n) / 1_000_000n;
    },
  };
}

function keyOf(model: string, meter: Meter): string {
  return `${model}\n${meter}`;
}

function endOf({ toMs }: { readonly toMs: number | undefined }): number {
  return toMs ?? Infinity;
}
