import { ServiceError, type TensorModelFile } from '@sluice/contracts';
import type { LimitStatus, Quota } from '@sluice/quota';
import type { Store, UsageRow } from '@sluice/store';
import { Router } from 'express';
import { z } from 'zod';
import type { Authentication } from '../authentication.js';
import type { Catalogue, PublicModel } from '../catalogue.js';
import { validate } from '../field-errors.js';
import { sendJson } from '../middleware/respond.js';
import { moment, requireNoQuery } from '../query-fields.js';
import { rateLimitHeaders } from '../rate-limit-headers.js';
import type { TenantLimits } from '../tenant-limits.js';
import type { TenantLoader } from '../tenant-loader.js';
import { usageRange } from '../usage-range.js';

export interface AccountRoutesOptions {
  readonly authentication: Authentication;
  readonly catalogue: Catalogue;
  readonly tenantLimits: Pick<TenantLimits, 'ofModels'>;
  readonly loader: TenantLoader;
  readonly quota: Pick<Quota, 'status'>;
  readonly store: Pick<Store, 'findUsage'>;
  readonly now: () => number;
}

const usageQuerySchema = z.strictObject({
  from: moment.optional(),
  to: moment.optional(),
  groupBy: z.enum(['hour', 'day', 'month', 'model', 'apiKey']).default('day'),
});

const quotaQuerySchema = z.strictObject({ model: z.string().min(1).max(63).optional() });

/** What a tenant may ask about its own account: models, quota, usage. */
export function accountRoutes(options: AccountRoutesOptions): Router {
  const { authentication, catalogue, tenantLimits, loader, quota, store, now } = options;
  const router = Router();

  router.get('/v1/models', async (request, response) => {
    await authentication.authenticate(request.headers.authorization);
    requireNoQuery(request);
    sendJson(response, 200, { object: 'list', data: catalogue.models.map(modelView) });
  });

  router.get('/v1/quota', async (request, response) => {
    const principal = await authentication.authenticate(request.headers.authorization);
    const { model } = validate(quotaQuerySchema, request.query);
    const models = model === undefined ? catalogue.models.map(({ name }) => name) : [catalogue.find(model).name];
    const scopes = tenantLimits.ofModels(principal, models);
    let statuses = await quota.status(principal.tenantId, scopes);
    if (!statuses) {
      await loader.load(principal);
      statuses = await quota.status(principal.tenantId, scopes);
    }
    if (!statuses) throw new ServiceError('quota_unavailable', 'Usage so far is being read.', { retryAfterSeconds: 1 });
    const { plan, timeZone } = principal;
    const body = { object: 'quota', plan, timeZone, apiKeyId: principal.apiKeyId, limits: statuses.map(limitView) };
    sendJson(response, 200, body, model === undefined ? {} : rateLimitHeaders(scopes, statuses));
  });

  router.get('/v1/usage', async (request, response) => {
    const principal = await authentication.authenticate(request.headers.authorization);
    const { groupBy, ...asked } = validate(usageQuerySchema, request.query);
    const { tenantId, timeZone } = principal;
    const { fromMs, toMs } = usageRange(asked, timeZone, now());
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
    ...(facts.task === 'tensors' && signatureView(facts)),
  };
}

function signatureView({ inputs, outputs, elementsPerToken }: TensorModelFile) {
  return { inputs, outputs, elementsPerToken };
}

/** Money in nano-USD, as everywhere; such counts stay below 2^53. */
function limitView(status: LimitStatus) {
  const { name, scope, subject, kind, unit, max, soft, used, held, overage, remaining, resetsInMs } = status;
  return {
    ...{ name, scope, ...(subject !== '' && { subject }), kind, unit, soft },
    ...{ max, used, held, overage, remaining },
    ...(kind !== 'inFlight' && { resetsInSeconds: Math.ceil(resetsInMs / 1000) }),
  };
}

function usageView({ amountNanoUsd, ...row }: UsageRow) {
  return { ...row, amountNanoUsd: amountNanoUsd.toString() };
}
