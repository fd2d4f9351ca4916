import {
  isUuid,
  limitChangesSchema,
  overridesSchema,
  ServiceError,
  tenantIdSchema,
  type PlansFile,
} from '@sluice/contracts';
import type { ApiKey, Producer, Store, Tenant } from '@sluice/store';
import { Router, type Request } from 'express';
import { z } from 'zod';
import { equalSecrets, hashApiKey, newApiKey } from '../api-keys.js';
import { readBearer } from '../authentication.js';
import type { Catalogue } from '../catalogue.js';
import { validate } from '../field-errors.js';
import { cursorAfter, listPage, readCursor } from '../page-cursor.js';
import { readJsonBody } from '../middleware/json-body.js';
import { sendJson } from '../middleware/respond.js';
import { isStorable, UNSTORABLE } from '../submission.js';

export interface AdminRoutesOptions {
  readonly store: Pick<
    Store,
    | 'upsertTenant'
    | 'findTenant'
    | 'listTenants'
    | 'createApiKey'
    | 'listApiKeys'
    | 'revokeApiKey'
    | 'upsertProducer'
    | 'findProducer'
    | 'listProducers'
    | 'deleteProducer'
  >;
  readonly plans: PlansFile;
  readonly catalogue: Pick<Catalogue, 'models'>;
  readonly adminKey: string | undefined;
  readonly pepper: string;
  readonly maxBodyBytes: number;
}

const MAX_PAGE = 200;

const isTenantId = (text: string): boolean => tenantIdSchema.safeParse(text).success;

const tenantPath = z.object({ tenantId: tenantIdSchema });
/** As RabbitMQ names users; 255 bytes is what the property of a message holds. */
const userPath = z.object({
  userId: z
    .string()
    .min(1)
    .refine((name) => Buffer.byteLength(name) <= 255, 'must be at most 255 bytes')
    .refine(isStorable, UNSTORABLE),
});
const producerSchema = z.strictObject({ tenantId: tenantIdSchema });
const pageSchema = z.strictObject({
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'must be a whole number')
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= MAX_PAGE, `must be 1 to ${MAX_PAGE}`)
    .default(50),
  cursor: z.string().max(500).optional(),
});

/** Who may use the admin API: holders of the admin key. Throws `unauthenticated` or `forbidden`. */
export type AdminGuard = (request: Request) => void;

export function createAdminGuard(adminKey: string | undefined, pepper: string): AdminGuard {
  return function authorize(request) {
    if (adminKey === undefined) throw new ServiceError('forbidden', 'The admin API is switched off.');
    if (!equalSecrets(readBearer(request.headers.authorization), adminKey, pepper)) {
      throw new ServiceError('forbidden', 'This is not the admin key.');
    }
  };
}

/** What an operator does with the admin key: tenants and their limits, API keys, producers. */
export function adminRoutes(options: AdminRoutesOptions): Router {
  const { store, pepper, maxBodyBytes } = options;
  const authorize = createAdminGuard(options.adminKey, pepper);
  const { tenantSchema, keySchema } = bodySchemas(options);
  const router = Router();

  async function findTenant(request: Request): Promise<Tenant> {
    const { tenantId } = validate(tenantPath, request.params);
    const tenant = await store.findTenant(tenantId);
    if (tenant) return tenant;
    throw new ServiceError('tenant_not_found', `There is no tenant "${tenantId}".`, {
      fields: [{ field: 'tenantId', reason: 'names no tenant' }],
    });
  }

  router.get('/v1/admin/tenants', async (request, response) => {
    authorize(request);
    const { limit, cursor } = validate(pageSchema, request.query);
    const after = cursor === undefined ? undefined : readCursor(cursor, {}, isTenantId);
    const tenants = await store.listTenants({ limit: limit + 1, ...(after !== undefined && { after }) });
    const page = { view: tenantView, cursor: ({ tenantId }: Tenant) => cursorAfter(tenantId, {}) };
    sendJson(response, 200, listPage(tenants, limit, page));
  });

  router.get('/v1/admin/tenants/:tenantId', async (request, response) => {
    authorize(request);
    sendJson(response, 200, tenantView(await findTenant(request)));
  });

  router.put('/v1/admin/tenants/:tenantId', async (request, response) => {
    authorize(request);
    const { tenantId } = validate(tenantPath, request.params);
    const body = await readJsonBody(request, maxBodyBytes);
    const { plan, timeZone, overrides } = validate(tenantSchema, body);
    // n.b. stored as it was written: what the schema makes of it (nano-USD, say) cannot be read back.
    const raw = overrides && { overrides: (body as { readonly overrides: unknown }).overrides };
    await store.upsertTenant({ tenantId, plan, timeZone, ...raw });
    sendJson(response, 200, tenantView(await findTenant(request)));
  });

  router.post('/v1/admin/tenants/:tenantId/keys', async (request, response) => {
    authorize(request);
    const { tenantId } = validate(tenantPath, request.params);
    const body = await readJsonBody(request, maxBodyBytes);
    const { name, limits, expiresAt } = validate(keySchema, body);
    const raw = limits && { limits: (body as { readonly limits: unknown }).limits };
    const { key, displayPrefix } = newApiKey();
    const { apiKeyId } = await store.createApiKey({
      ...{ tenantId, name, keyHash: hashApiKey(key, pepper), prefix: displayPrefix },
      ...(expiresAt !== undefined && { expiresAtMs: expiresAt }),
      ...raw,
    });
    const expiry = expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() };
    sendJson(response, 201, { id: apiKeyId, object: 'api_key', tenantId, name, ...expiry, ...raw, key });
  });

  router.get('/v1/admin/tenants/:tenantId/keys', async (request, response) => {
    authorize(request);
    const { tenantId } = await findTenant(request);
    const keys = await store.listApiKeys(tenantId);
    sendJson(response, 200, { object: 'list', data: keys.map((key) => apiKeyView(tenantId, key)) });
  });

  router.delete('/v1/admin/keys/:apiKeyId', async (request, response) => {
    authorize(request);
    const { apiKeyId } = request.params;
    if (!isUuid(apiKeyId) || !(await store.revokeApiKey(apiKeyId))) throw notFound('API key', 'apiKeyId');
    sendJson(response, 200, { id: apiKeyId, object: 'api_key', revoked: true });
  });

  router.get('/v1/admin/tenants/:tenantId/producers', async (request, response) => {
    authorize(request);
    const { tenantId } = await findTenant(request);
    const producers = await store.listProducers(tenantId);
    sendJson(response, 200, { object: 'list', data: producers.map(producerView) });
  });

  router.put('/v1/admin/producers/:userId', async (request, response) => {
    authorize(request);
    const { userId } = validate(userPath, request.params);
    const { tenantId } = validate(producerSchema, await readJsonBody(request, maxBodyBytes));
    const { apiKeyId } = await store.upsertProducer({ userId, tenantId });
    sendJson(response, 200, { id: userId, object: 'producer', tenantId, apiKeyId });
  });

  router.get('/v1/admin/producers/:userId', async (request, response) => {
    authorize(request);
    const { userId } = validate(userPath, request.params);
    const producer = await store.findProducer(userId);
    if (!producer) throw notFound('producer', 'userId');
    const { tenantId, apiKeyId } = producer;
    sendJson(response, 200, { id: userId, object: 'producer', tenantId, apiKeyId });
  });

  router.delete('/v1/admin/producers/:userId', async (request, response) => {
    authorize(request);
    const { userId } = validate(userPath, request.params);
    if (!(await store.deleteProducer(userId))) throw notFound('producer', 'userId');
    sendJson(response, 200, { id: userId, object: 'producer', deleted: true });
  });

  return router;
}

/** What operators send; names of plans and models must exist in the configuration. */
function bodySchemas({ plans, catalogue }: AdminRoutesOptions) {
  const models = new Set(['*', ...catalogue.models.map(({ name }) => name)]);
  const overrides = overridesSchema.superRefine(({ perModel = {} }, context) => {
    for (const model of Object.keys(perModel)) {
      if (!models.has(model))
        context.addIssue({ code: 'custom', path: ['perModel', model], message: 'names no model' });
    }
  });
  const tenantSchema = z.strictObject({
    plan: z.string().refine((plan) => Object.hasOwn(plans.plans, plan), 'names no plan of config/plans.yaml'),
    /** When it is absent, what was stored stays; UTC for a new tenant. */
    timeZone: z.string().max(64).refine(isTimeZone, 'must be an IANA time zone such as "Europe/Berlin"').optional(),
    /** Replaces what was stored; when it is absent, what was stored stays. */
    overrides: overrides.optional(),
  });
  const keySchema = z.strictObject({
    name: z.string().min(1).max(100).refine(isStorable, UNSTORABLE).default('default'),
    limits: limitChangesSchema.optional(),
    expiresAt: z.iso
      .datetime({ offset: true })
      .transform((text) => Date.parse(text))
      .refine((timeMs) => timeMs > Date.now(), 'must be in the future')
      .optional(),
  });
  return { tenantSchema, keySchema };
}

function isTimeZone(name: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}

function notFound(what: string, field: string): ServiceError {
  return new ServiceError('not_found', `No such ${what}.`, { fields: [{ field, reason: `names no ${what}` }] });
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function tenantView({ tenantId, plan, timeZone, overrides, createdAtMs, updatedAtMs }: Tenant) {
  const times = { createdAt: iso(createdAtMs), updatedAt: iso(updatedAtMs) };
  return { id: tenantId, object: 'tenant', plan, timeZone, overrides, ...times };
}

function apiKeyView(tenantId: string, key: ApiKey) {
  const { apiKeyId, name, prefix, limits, producer, createdAtMs, expiresAtMs, revokedAtMs } = key;
  return {
    ...{ id: apiKeyId, object: 'api_key', tenantId, name, prefix, limits },
    ...(producer !== undefined && { producer }),
    createdAt: iso(createdAtMs),
    ...(expiresAtMs !== undefined && { expiresAt: iso(expiresAtMs) }),
    ...(revokedAtMs !== undefined && { revokedAt: iso(revokedAtMs) }),
  };
}

function producerView({ userId, tenantId, apiKeyId, createdAtMs }: Producer) {
  return { id: userId, object: 'producer', tenantId, apiKeyId, createdAt: iso(createdAtMs) };
}
