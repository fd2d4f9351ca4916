import { z } from 'zod';
import { entriesOf, EVEN_WITH_ISSUES, fieldOf, recordOf, scalarOrFields } from './forms.js';
import type { ModelNames } from './models-file.js';
import { nanoUsd, usdSchema } from './money.js';
import { NAME, nameSchema } from './names.js';

/** The largest rate: limit × window in milliseconds must stay an exact integer in Redis (2^53). */
export const MAX_PER_MINUTE = 100_000_000_000;
/** The largest quota, in tokens. */
export const MAX_TOKENS_PER_PERIOD = 9_000_000_000_000;
/** The largest budget: nano-USD are counted in Redis, where integers are exact below 2^53. */
export const MAX_BUDGET_USD = 9_000_000;

/** Alerts of a quota and whether it refuses. */
const quotaOptions = {
  /** Percentages of the maximum; a soft quota is usually alerted on at 100. */
  alertAtPercent: z
    .array(z.int().min(1).max(1000), 'must be a list of percentages such as [50, 80]')
    .max(10)
    .refine((list) => new Set(list).size === list.length, 'names a percentage twice')
    .transform((list) => [...list].sort((a, b) => a - b))
    .default([]),
  /** A soft quota refuses nothing: it is counted, shown and alerted on. */
  soft: z.boolean().default(false),
};

const tokenQuotaMax = z.int().min(1).max(MAX_TOKENS_PER_PERIOD);
/** `500` or `{ max: 500, alertAtPercent: [50, 80] }`. */
const tokenQuota = scalarOrFields({
  type: 'number',
  scalar: tokenQuotaMax,
  fields: z.strictObject({ max: tokenQuotaMax, ...quotaOptions }),
  otherwise: 'must be a whole number, or { max, alertAtPercent?, soft? }',
});

const budgetMax = usdSchema
  .transform((text) => Number(nanoUsd(text)))
  .refine((nano) => nano >= 1, 'must be above 0')
  .refine((nano) => nano <= MAX_BUDGET_USD * 1e9, `must be at most ${MAX_BUDGET_USD}`);
/** `"5.00"` or `{ usd: "5.00", alertAtPercent: [50, 80] }`; becomes nano-USD. */
const budget = scalarOrFields({
  type: 'string',
  scalar: budgetMax,
  fields: z.strictObject({ usd: budgetMax, ...quotaOptions }).transform(({ usd: max, ...rest }) => ({ max, ...rest })),
  otherwise: 'must be a decimal string such as "5.00", or { usd, alertAtPercent?, soft? }',
});

const ratePerMinute = z.int().min(1).max(MAX_PER_MINUTE);

const limits = {
  /** Token buckets: capacity, refilled evenly within a minute. */
  requestsPerMinute: ratePerMinute,
  tokensPerMinute: ratePerMinute,
  /** Calendar days and months of the tenant's time zone. */
  tokensPerDay: tokenQuota,
  tokensPerMonth: tokenQuota,
  /** Open jobs, and the tokens they hold. */
  concurrentJobs: z.int().min(1).max(1_000_000),
  tokensInFlight: z.int().min(1).max(MAX_TOKENS_PER_PERIOD),
  /** US dollars in a calendar month of the tenant's time zone. */
  moneyPerMonth: budget,
};

/** Any set of limits; what is absent is not limited. */
export const limitSetSchema = z.strictObject(limits).partial();
export type LimitSet = z.infer<typeof limitSetSchema>;

const ESTIMATE = 'must be exact, learned or { quantile, floorTokens }';
/**
 * How much output a job is held for. `exact`: its cap, so settled use never exceeds the hold. `learned`: the quantile
 * of what this tenant and model really used, never below the floor nor above the cap, so capacity is not hoarded; what
 * a job uses beyond it is booked as overage.
 */
export const estimateSchema = scalarOrFields({
  type: 'string',
  scalar: z
    .enum(['exact', 'learned'], ESTIMATE)
    .transform((word) => (word === 'exact' ? word : { quantile: 0.95, floorTokens: 16 })),
  fields: z.strictObject({ quantile: z.number().min(0.5).max(0.999), floorTokens: z.int().min(1).max(1_000_000) }),
  otherwise: ESTIMATE,
});
export type Estimate = z.infer<typeof estimateSchema>;

/** A model's name, or `*` for each that is not named. */
const modelOrAll = z
  .string()
  .regex(new RegExp(`^\\*$|${NAME.source}`), 'must be "*" or a name of lower-case letters, digits, ".", "_" or "-"');
const perModel = recordOf(modelOrAll, limitSetSchema);

/** What a tenant on a plan may use. */
export const planSchema = z.strictObject({
  /** For the tenant as a whole. */
  limits: limitSetSchema,
  /** For each API key by itself. */
  perApiKey: limitSetSchema.default({}),
  /** For the tenant's use of a model; `*` is for each model that is not named, by itself. */
  perModel: perModel.default({}),
  estimate: estimateSchema.default('exact'),
});
export type Plan = z.infer<typeof planSchema>;

/** `config/plans.yaml`. */
export const plansFileSchema = z.strictObject({ plans: recordOf(nameSchema, planSchema) });
export type PlansFile = z.infer<typeof plansFileSchema>;

/** `config/plans.yaml` where the models are known: a limit on a model that does not exist is refused. */
export function plansFileFor({ models }: ModelNames) {
  return plansFileSchema.superRefine((file, context) => {
    for (const [name, plan] of entriesOf(file.plans)) {
      for (const [model] of entriesOf(fieldOf(plan, 'perModel'))) {
        if (model === '*' || !nameSchema.safeParse(model).success || Object.hasOwn(models, model)) continue;
        const path = ['plans', name, 'perModel', model];
        context.addIssue({ code: 'custom', path, message: `no model "${model}" exists` });
      }
    }
  }, EVEN_WITH_ISSUES);
}

const nullable = Object.fromEntries(Object.entries(limits).map(([key, schema]) => [key, schema.nullable()])) as {
  readonly [Key in keyof typeof limits]: z.ZodNullable<(typeof limits)[Key]>;
};
/** Changes to a set: a value replaces, null removes the limit. */
export const limitChangesSchema = z.strictObject(nullable).partial();
export type LimitChanges = z.infer<typeof limitChangesSchema>;

/** What one tenant has otherwise than its plan. As it is written, so that it can be stored and read back. */
export const overridesSchema = z
  .strictObject({
    limits: limitChangesSchema,
    perApiKey: limitChangesSchema,
    perModel: recordOf(modelOrAll, limitChangesSchema),
    estimate: estimateSchema,
  })
  .partial();
export type Overrides = z.infer<typeof overridesSchema>;

/** A set with changes made to it. */
export function limitsWith(set: LimitSet, changes: LimitChanges | undefined): LimitSet {
  const merged = Object.entries({ ...set, ...changes }).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(merged);
}

/** A tenant's plan with its overrides. A model that only the overrides name starts from the plan's `*`. */
export function planWith(plan: Plan, overrides: Overrides): Plan {
  const models = new Set([...Object.keys(plan.perModel), ...Object.keys(overrides.perModel ?? {})]);
  const sets = [...models].map((model): [string, LimitSet] => [
    model,
    limitsWith(plan.perModel[model] ?? plan.perModel['*'] ?? {}, overrides.perModel?.[model]),
  ]);
  return {
    limits: limitsWith(plan.limits, overrides.limits),
    perApiKey: limitsWith(plan.perApiKey, overrides.perApiKey),
    perModel: Object.fromEntries(sets),
    estimate: overrides.estimate ?? plan.estimate,
  };
}

/** The limits on a tenant's use of a model. */
export function modelLimits({ perModel: sets }: Plan, model: string): LimitSet {
  return (Object.hasOwn(sets, model) ? sets[model] : sets['*']) ?? {};
}
