import { LIMIT_SCOPES, type AcceptedMessage } from '@sluice/contracts';
import {
  limitsOf,
  type Load,
  type LoadTicket,
  type Posted,
  type Quota,
  type Reservation,
  type ScopedLimits,
} from '@sluice/quota';
import type { Measure, Store } from '@sluice/store';
import { acceptedMessage } from './messages.js';

export const MODEL = 'use-lite-en';
/** Nano-USD for a token of input of the model. */
export const NANO_USD_PER_TOKEN = 20;
const LARGE = 1_000_000_000;
/** Far above what tests use: these tests are about counting. */
const SETS = {
  tenant: { tokensPerMinute: LARGE, tokensPerMonth: LARGE, moneyPerMonth: LARGE * NANO_USD_PER_TOKEN },
  apiKey: { tokensPerDay: LARGE, concurrentJobs: 1_000_000 },
  model: { tokensPerMonth: LARGE, tokensInFlight: LARGE },
} as const;

/** The limits of the jobs that `acceptedMessage` makes, as a gateway names them. */
export function scopesOf({ apiKeyId, model }: Pick<AcceptedMessage, 'apiKeyId' | 'model'>): readonly ScopedLimits[] {
  const subjects = { tenant: '', apiKey: apiKeyId, model } as const;
  return LIMIT_SCOPES.map((scope) => ({
    scope,
    subject: subjects[scope],
    limits: limitsOf(SETS[scope], scope, 'UTC', Date.now()),
  }));
}

/** What a gateway asks for a job. */
export function reservationOf(job: AcceptedMessage, holdTtlMs: number): Reservation {
  const { tenantId, jobId, apiKeyId, model, reservedTokens: tokens, reservedNanoUsd: nanoUsd = 0 } = job;
  const amounts = { tokens, nanoUsd };
  return { tenantId, jobId, owner: 'test', apiKeyId, model, amounts, scopes: scopesOf(job), holdTtlMs, facts: '{}' };
}

/** Loads a tenant that has used nothing. */
export async function loadEmpty(quota: Quota, tenantId: string): Promise<void> {
  const ticket = await quota.beginLoad(tenantId);
  const outcome = await quota.load({ ticket, ...coverage(), posted: [], openHolds: [] });
  if (outcome !== 'loaded') throw new Error(`load answered ${outcome}`);
}

/** What a tenant whose jobs all come from `acceptedMessage` is loaded with. */
export async function loadFromBooks(store: Store, ticket: LoadTicket): Promise<Load> {
  const limits = coverage().scopes.flatMap(({ scope, limits: some }) => some.map((limit) => ({ scope, limit })));
  const measures = limits.map(({ scope, limit: { unit, max, windowMs, period } }): Measure => {
    if (period) return { scope, unit, window: { kind: 'period', fromMs: period.startsAtMs, toMs: period.endsAtMs } };
    return { scope, unit, window: { kind: 'rate', max, windowMs: windowMs ?? 60_000 } };
  });
  const { amounts, openHolds } = await store.quotaFacts({ tenantId: ticket.tenantId, measures });
  const posted = amounts.flatMap(({ measure, subject, used, overage }): Posted[] => {
    const limit = limits[measure];
    if (limit === undefined || limit.limit.kind === 'inFlight') return [];
    return [{ scope: limit.scope, subject, name: limit.limit.name, used: Math.ceil(used), overage }];
  });
  return {
    ...{ ticket, posted, ...coverage() },
    openHolds: openHolds.map(({ reservedTokens: tokens, reservedNanoUsd: nanoUsd, ...hold }) => ({
      ...hold,
      amounts: { tokens, nanoUsd },
    })),
  };
}

function coverage(): Pick<Load, 'scopes' | 'cover'> {
  const scopes = scopesOf(acceptedMessage());
  return { scopes, cover: scopes.flatMap(({ limits }) => limits.map(({ name }) => name)) };
}
