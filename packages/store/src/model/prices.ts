import type { Meter, Price } from '@sluice/contracts';
import { ConfigError } from '@sluice/runtime';
import type { CompletedFact } from '../facts.js';
import { type NewPriceVersion, planPrices, type PriceVersion } from '../price-plan.js';
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
  /**
   * As `syncPrices` with these configured prices.
   *
   * @throws ConfigError when they would change the past.
   */
  sync(nowMs: number, prices: readonly Price[]): void;
  /** As `Prices.findPrices`. */
  find(nowMs: number): readonly PriceVersion[];
  /** What a completed fact is billed, nano-USD, at the prices of when its job was accepted. */
  amountOf(fact: CompletedFact, jobAtMs: number): bigint;
}

export function createPriceTable(): PriceTable {
  const versions = new Map<string, readonly PriceVersion[]>();
  let lastId = 0n;

  const all = (): readonly PriceVersion[] => [...versions.values()].flat();

  function inForce(model: string, meter: Meter, atMs: number): bigint {
    const found = versions.get(keyOf(model, meter))?.find((one) => one.fromMs <= atMs && atMs < endOf(one));
    return found?.nanoUsdPerMillion ?? 0n;
  }

  function put(price: NewPriceVersion): void {
    const key = keyOf(price.model, price.meter);
    const others = versions.get(key) ?? [];
    if (others.some((one) => one.fromMs < endOf(price) && price.fromMs < endOf(one))) {
      throw new Error(`prices overlap: ${price.model} ${price.meter}`);
    }
    versions.set(key, [...others, { ...price, priceId: (lastId += 1n) }]);
  }

  /** Undefined withdraws a version. */
  function change(changed: (version: PriceVersion) => PriceVersion | undefined): void {
    for (const [key, ofKey] of versions)
      versions.set(
        key,
        ofKey.flatMap((one) => changed(one) ?? []),
      );
  }

  return {
    put,

    sync(nowMs, prices) {
      const { withdrawn, ended, added, problems } = planPrices(all(), prices, nowMs);
      if (problems.length > 0) throw new ConfigError('The prices have problems', problems);
      const ends = new Map(ended.map(({ priceId, toMs }) => [priceId, toMs]));
      change((one) => (withdrawn.includes(one.priceId) ? undefined : one));
      change((one) => (ends.has(one.priceId) ? { ...one, toMs: ends.get(one.priceId) } : one));
      added.forEach(put);
    },

    find(nowMs) {
      return all()
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
