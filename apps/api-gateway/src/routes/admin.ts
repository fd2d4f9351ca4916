import { isUuid, ServiceError, tenantIdSchema, type PlansFile } from '@sluice/contracts';
import type { Store } from '@sluice/store';
import { Router, type Request } from 'express';
import { z } from 'zod';
import { equalSecrets, hashApiKey, newApiKey } from '../api-keys.js';
import { readBearer } from '../authentication.js';
import { validate } from '../field-errors.js';
import { readJsonBody } from '../middleware/json-body.js';
import { sendJson } from '../middleware/respond.js';
import { isStorable, UNSTORABLE } from '../submission.js';

export interface AdminRoutesOptions {
  readonly store: Pick<Store, 'upsertTenant' | 'createApiKey' | 'revokeApiKey'>;
  readonly plans: PlansFile;
  readonly adminKey: string | undefined;
  readonly pepper: string;
  readonly maxBodyBytes: number;
}

const pathSchema = z.object({ tenantId: tenantIdSchema });

function isTimeZone(name: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}

/** What an operator does with the admin key: make tenants, hand out API keys, revoke them. */
export function adminRoutes(options: AdminRoutesOptions): Router {
  const { store, plans, adminKey, pepper } = options;
  const tenantSchema = z.strictObject({
    plan: z.string().refine((plan) => Object.hasOwn(plans.plans, plan), 'names no plan of config/plans.yaml'),
    timeZone: z.string().max(64).refine(isTimeZone, 'must be an IANA time zone such as "Europe/Berlin"').default('UTC'),
  });
  const keySchema = z.strictObject({
    name: z.string().min(1).max(100).refine(isStorable, UNSTORABLE).default('default'),
  });

  function authorize(request: Request): void {
    if (adminKey === undefined) throw new ServiceError('forbidden', 'The admin API is switched off.');
    if (!equalSecrets(readBearer(request.headers.authorization), adminKey, pepper)) {
      throw new ServiceError('forbidden', 'This is not the admin key.');
    }
  }

  const router = Router();

  router.put('/v1/admin/tenants/:tenantId', async (request, response) => {
    authorize(request);
    const { tenantId } = validate(pathSchema, request.params);
    const tenant = validate(tenantSchema, await readJsonBody(request, options.maxBodyBytes));
    await store.upsertTenant({ tenantId, ...tenant });
    sendJson(response, 200, { id: tenantId, object: 'tenant', ...tenant });
  });

  router.post('/v1/admin/tenants/:tenantId/keys', async (request, response) => {
    authorize(request);
    const { tenantId } = validate(pathSchema, request.params);
    const { name } = validate(keySchema, await readJsonBody(request, options.maxBodyBytes));
    const { key, displayPrefix } = newApiKey();
    const keyHash = hashApiKey(key, pepper);
    const { apiKeyId } = await store.createApiKey({ tenantId, name, keyHash, prefix: displayPrefix });
    sendJson(response, 201, { id: apiKeyId, object: 'api_key', tenantId, name, key });
  });

  router.delete('/v1/admin/keys/:apiKeyId', async (request, response) => {
    authorize(request);
    const { apiKeyId } = request.params;
    if (!isUuid(apiKeyId) || !(await store.revokeApiKey(apiKeyId))) {
      throw new ServiceError('not_found', 'No such API key.', {
        fields: [{ field: 'apiKeyId', reason: 'names no key' }],
      });
    }
    sendJson(response, 200, { id: apiKeyId, object: 'api_key', revoked: true });
  });

  return router;
}
