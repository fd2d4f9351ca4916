import type { LimitChanges, LimitSet, Plan } from '@sluice/contracts';

/*
 * While a change of limits spreads, gateways ask for different ones. A load that knows the limits of before and after serves
 * all of them.
 */

/** Every limit of either plan; where both have it, as the second says. */
export function planOfEither(first: Plan, second: Plan): Plan {
  const models = new Set([...Object.keys(first.perModel), ...Object.keys(second.perModel)]);
  const ofModel = ({ perModel }: Plan, model: string): LimitSet => perModel[model] ?? perModel['*'] ?? {};
  return {
    limits: { ...first.limits, ...second.limits },
    perApiKey: { ...first.perApiKey, ...second.perApiKey },
    perModel: Object.fromEntries(
      [...models].map((name) => [name, { ...ofModel(first, name), ...ofModel(second, name) }]),
    ),
    estimate: second.estimate,
  };
}

/**
 * Changes that leave a key every limit that it has under either; where both set it, as the second says. A limit is taken off
 * only where both take it off: under the other one the plan's applies.
 */
export function changesOfEither(first: LimitChanges, second: LimitChanges): LimitChanges {
  const names = [...new Set([...Object.keys(first), ...Object.keys(second)])] as (keyof LimitChanges)[];
  const changes = names.flatMap((name) => {
    const value = second[name] ?? first[name];
    const isTakenOff = first[name] === null && second[name] === null;
    return value != null || isTakenOff ? [[name, value ?? null] as const] : [];
  });
  return Object.fromEntries(changes);
}
