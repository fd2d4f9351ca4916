import { z } from 'zod';
import { EVEN_WITH_ISSUES, fieldOf, listOf, quoted } from './forms.js';
import type { ModelNames } from './models-file.js';
import { nanoUsd } from './money.js';
import { nameSchema } from './names.js';

/** What is priced. `request` counts jobs, the others tokens. */
export const METERS = ['input', 'output', 'cached', 'request'] as const;
export type Meter = (typeof METERS)[number];

const USD_PER_MILLION = 'must be a decimal string such as "0.02", with at most 6 digits before and 9 after the point';
/** `config/prices.yaml`: effective-dated prices. A price that was in force is never changed, a newer one is added. */
export const pricesFileSchema = z
  .strictObject({
    prices: z.array(
      z.strictObject({
        model: nameSchema,
        meter: z.enum(METERS),
        /** US dollars for a million units, as a decimal string with at most 9 places, for example "0.02". */
        usdPerMillion: quoted(USD_PER_MILLION).regex(/^\d{1,6}(\.\d{1,9})?$/, USD_PER_MILLION),
        /** From when on, inclusive, until the next version of the same model and meter begins. */
        from: z.iso.datetime(),
      }),
    ),
  })
  .superRefine(({ prices }, context) => {
    const seen = new Map<string, number>();
    listOf(prices).forEach((price, index) => {
      const [model, meter, from] = ['model', 'meter', 'from'].map((name) => fieldOf(price, name));
      if (typeof model !== 'string' || typeof meter !== 'string' || typeof from !== 'string') return;
      if (Number.isNaN(Date.parse(from))) return;
      const key = `${model} ${meter} ${Date.parse(from)}`;
      const first = seen.get(key);
      const message = `overlaps price ${(first ?? 0) + 1} of the list: both are for ${meter} of ${model} from ${from}`;
      if (first === undefined) seen.set(key, index);
      else context.addIssue({ code: 'custom', path: ['prices', index], message });
    });
  }, EVEN_WITH_ISSUES);
export type PricesFile = z.infer<typeof pricesFileSchema>;
export type Price = PricesFile['prices'][number];

/** `config/prices.yaml` where the models are known: a price of a model that does not exist is refused. */
export function pricesFileFor({ models }: ModelNames) {
  return pricesFileSchema.superRefine(({ prices }, context) => {
    listOf(prices).forEach((price, index) => {
      const model = fieldOf(price, 'model');
      if (typeof model !== 'string' || !nameSchema.safeParse(model).success || Object.hasOwn(models, model)) return;
      context.addIssue({ code: 'custom', path: ['prices', index, 'model'], message: `no model "${model}" exists` });
    });
  }, EVEN_WITH_ISSUES);
}

/** Nano-USD for a million units: the exact integer behind `usdPerMillion`. */
export const nanoUsdPerMillion = nanoUsd;
