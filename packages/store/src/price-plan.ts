import { type Meter, nanoUsdPerMillion, type Price } from '@sluice/contracts';

/** A row of `price_versions`. Times are Unix milliseconds. */
export interface PriceVersion {
  readonly priceId: bigint;
  readonly model: string;
  readonly meter: Meter;
  readonly nanoUsdPerMillion: bigint;
  readonly fromMs: number;
  /** Exclusive; undefined for no end. */
  readonly toMs: number | undefined;
}

export type NewPriceVersion = Omit<PriceVersion, 'priceId'>;

/** How to bring the stored prices in line with the configured ones, in this order. */
export interface PricePlan {
  /** Versions that are not in force yet and no longer wanted. */
  readonly withdrawn: readonly bigint[];
  /** Versions in force that end at another time than before. */
  readonly ended: readonly { readonly priceId: bigint; readonly toMs: number | undefined }[];
  readonly added: readonly NewPriceVersion[];
  /** Why the configured prices are refused; then nothing may be changed. */
  readonly problems: readonly string[];
}

type Stored = readonly PriceVersion[];
type Wanted = readonly Omit<NewPriceVersion, 'toMs'>[];

/**
 * Compares stored with configured prices. A version that is or was in force stays as it is, whatever the configuration
 * says: one that differs, or that would begin within the time of an older version, is a problem. One that is missing
 * from the configuration stays in force until a newer version begins.
 */
export function planPrices(stored: Stored, prices: readonly Price[], nowMs: number): PricePlan {
  const wanted = prices.map(({ model, meter, usdPerMillion, from }) => ({
    model,
    meter,
    nanoUsdPerMillion: nanoUsdPerMillion(usdPerMillion),
    fromMs: Date.parse(from),
  }));
  const keys = [...new Set([...stored, ...wanted].map(keyOf))];
  const plans = keys.map((key) => {
    const ofKey = (version: { readonly model: string; readonly meter: Meter }): boolean => keyOf(version) === key;
    return planOne(stored.filter(ofKey), wanted.filter(ofKey), nowMs);
  });
  return {
    withdrawn: plans.flatMap((plan) => plan.withdrawn),
    ended: plans.flatMap((plan) => plan.ended),
    added: plans.flatMap((plan) => plan.added),
    problems: plans.flatMap((plan) => plan.problems),
  };
}

/** The plan for one model and meter. */
function planOne(stored: Stored, wanted: Wanted, nowMs: number): PricePlan {
  const problems = wanted.flatMap((price, index) =>
    problemOf(price, { stored, earlier: wanted.slice(0, index), nowMs }),
  );
  const future = stored.filter(({ fromMs }) => fromMs > nowMs);
  const kept = stored.filter((version) => version.fromMs <= nowMs || wanted.some((price) => isSame(version, price)));
  const fresh = wanted.filter((price) => !kept.some((version) => version.fromMs === price.fromMs));
  const starts = [...kept, ...fresh].map(({ fromMs }) => fromMs).sort((a, b) => a - b);
  const endOf = (fromMs: number): number | undefined => starts.find((start) => start > fromMs);
  return {
    problems,
    withdrawn: future.filter((version) => !kept.includes(version)).map(({ priceId }) => priceId),
    ended: kept
      .filter(({ toMs }) => toMs === undefined || toMs > nowMs)
      .filter(({ fromMs, toMs }) => toMs !== endOf(fromMs))
      .map(({ priceId, fromMs }) => ({ priceId, toMs: endOf(fromMs) })),
    added: fresh.map((price) => ({ ...price, toMs: endOf(price.fromMs) })),
  };
}

interface Context {
  readonly stored: Stored;
  readonly earlier: Wanted;
  readonly nowMs: number;
}

function problemOf(price: Wanted[number], { stored, earlier, nowMs }: Context): readonly string[] {
  const name = `${price.model}, ${price.meter}, from ${new Date(price.fromMs).toISOString()}`;
  if (earlier.some(({ fromMs }) => fromMs === price.fromMs)) return [`${name}: is listed twice`];
  if (price.fromMs > nowMs) return [];
  const inForce = stored.find(
    ({ fromMs, toMs }) => fromMs <= price.fromMs && (toMs === undefined || toMs > price.fromMs),
  );
  if (inForce === undefined || isSame(inForce, price)) return [];
  return [`${name}: another price was in force then and cannot be changed; add one that begins in the future`];
}

function isSame(version: PriceVersion, price: Wanted[number]): boolean {
  return version.fromMs === price.fromMs && version.nanoUsdPerMillion === price.nanoUsdPerMillion;
}

function keyOf({ model, meter }: { readonly model: string; readonly meter: Meter }): string {
  return `${model} ${meter}`;
}
