import type { LimitStatus, Quota } from '@sluice/quota';
import type { Store, UsageRow } from '@sluice/store';
import { Router } from 'express';
import { z } from 'zod';
import type { Authentication } from '../authentication.js';
import type { Catalogue, PublicModel } from '../catalogue.js';
import { invalidRequest, validate } from '../field-errors.js';
import { sendJson } from '../middleware/respond.js';
import { rateLimitHeaders } from '../rate-limit-headers.js';
import type { TenantLimits } from '../tenant-limits.js';

export interface AccountRoutesOptions {
  readonly authentication: Authentication;
  readonly catalogue: Catalogue;
  readonly tenantLimits: TenantLimits;
  readonly quota: Pick<Quota, 'status'>;
  readonly store: Pick<Store, 'findUsage'>;
  readonly now: () => number;
}

const DAY_MS = 86_400_000;
const MAX_RANGE_DAYS = 400;

const instant = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], 'must be a date (2026-11-01) or a date and time with zone')
  .transform((text) => Date.parse(text));

const usageQuerySchema = z.strictObject({
  from: instant.optional(),
  to: instant.optional(),
  groupBy: z.enum(['hour', 'day', 'month', 'model', 'apiKey']).default('day'),
});

/** What a tenant may ask about its own account: models, quota, usage. */
export function accountRoutes(options: AccountRoutesOptions): Router {
  const { authentication, catalogue, tenantLimits, quota, store, now } = options;
  const router = Router();

  router.get('/v1/models', async (request, response) => {
    await authentication.authenticate(request.headers.authorization);
    sendJson(response, 200, { object: 'list', data: catalogue.models.map(modelView) });
  });

  router.get('/v1/quota', async (request, response) => {
    const principal = await authentication.authenticate(request.headers.authorization);
    const limits = tenantLimits.of(principal);
    let statuses = await quota.status(principal.tenantId, limits);
    if (!statuses) {
      await tenantLimits.load(principal);
      statuses = (await quota.status(principal.tenantId, limits)) ?? [];
    }
    const body = {
      object: 'quota',
      plan: principal.plan,
      timeZone: principal.timeZone,
      limits: statuses.map(limitView),
    };
    sendJson(response, 200, body, rateLimitHeaders(limits, statuses));
  });

  router.get('/v1/usage', async (request, response) => {
    const principal = await authentication.authenticate(request.headers.authorization);
    const { groupBy, ...range } = validate(usageQuerySchema, request.query);
    const toMs = range.to ?? now();
    const fromMs = range.from ?? toMs - 30 * DAY_MS;
    if (fromMs >= toMs) throw invalidRequest([{ field: 'from', reason: 'must be before "to"' }]);
    if (toMs - fromMs > MAX_RANGE_DAYS * DAY_MS) {
      throw invalidRequest([{ field: 'from', reason: `must be at most ${MAX_RANGE_DAYS} days before "to"` }]);
    }
    const { tenantId, timeZone } = principal;
    const rows = await store.findUsage({ tenantId, fromMs, toMs, groupBy, timeZone });
    sendJson(response, 200, {
      object: 'usage',
      from: new Date(fromMs).toISOString(),
      to: new Date(toMs).toISOString(),
      groupBy,
      timeZone,
      data: rows.map(usageView),
    });
  });

  return router;
}

function modelView({ name, version, description, classes, facts }: PublicModel) {
  return {
    id: name,
    object: 'model',
    version,
    description,
    task: facts.task,
    precision: facts.precision,
    classes,
    maxInputTokens: facts.maxInputTokens,
    maxOutputTokens: facts.maxOutputTokens,
    licence: facts.licence,
    ...(facts.task === 'embedding' && { dimensions: facts.output.dimensions }),
  };
}

function limitView(status: LimitStatus) {
  const { name, kind, max, used, held, remaining, resetsInMs } = status;
  return { name, kind, max, used, held, remaining, resetsInSeconds: Math.ceil(resetsInMs / 1000) };
}

function usageView({ amountNanoUsd, ...row }: UsageRow) {
  return { ...row, amountNanoUsd: amountNanoUsd.toString() };
}
