import { isUuid, limitChangesSchema, ServiceError, tenantIdSchema } from '@sluice/contracts';
import type { ApiKey, Producer, Store } from '@sluice/store';
import { Router } from 'express';
import { z } from 'zod';
import { hashApiKey, newApiKey } from '../api-keys.js';
import { validate } from '../field-errors.js';
import { readJsonBody } from '../middleware/json-body.js';
import { sendJson } from '../middleware/respond.js';
import { isStorable, UNSTORABLE } from '../submission.js';
import { createAdminGuard, requireTenant, tenantPath } from './admin.js';

export interface AdminKeyRoutesOptions {
  readonly store: Pick<
    Store,
    | 'findTenant'
    | 'createApiKey'
    | 'listApiKeys'
    | 'updateApiKey'
    | 'revokeApiKey'
    | 'upsertProducer'
    | 'findProducer'
    | 'listProducers'
    | 'deleteProducer'
  >;
  readonly adminKey: string | undefined;
  readonly pepper: string;
  readonly maxBodyBytes: number;
  /** By the clock of the suite (Unix milliseconds). */
  readonly now: () => number;
}

/** As RabbitMQ names users; 255 bytes is what the property of a message holds. */
const userPath = z.object({
  userId: z
    .string()
    .min(1)
    .refine((name) => Buffer.byteLength(name) <= 255, 'must be at most 255 bytes')
    .refine(isStorable, UNSTORABLE),
});
const name = z.string().min(1).max(100).refine(isStorable, UNSTORABLE);
/** Limits replace what was stored; when they are absent, what was stored stays. */
const producerSchema = z.strictObject({ tenantId: tenantIdSchema, limits: limitChangesSchema.optional() });

function keySchemas(now: () => number) {
  const expiresAt = z.iso
    .datetime({ offset: true })
    .transform((text) => Date.parse(text))
    .refine((timeMs) => timeMs > now(), 'must be in the future');
  const newKeySchema = z.strictObject({
    name: name.default('default'),
    limits: limitChangesSchema.optional(),
    expiresAt: expiresAt.optional(),
  });
  /** What is absent stays; null removes all limits, or the expiry. */
  const keyChangesSchema = z.strictObject({
    name: name.optional(),
    limits: limitChangesSchema.nullable().optional(),
    expiresAt: expiresAt.nullable().optional(),
  });
  return { newKeySchema, keyChangesSchema };
}

/**
 * What an operator does with the admin key about who may submit: API keys and producers, with limits of their own. Gateways
 * see a change when they ask for the key again.
 */
export function adminKeyRoutes(options: AdminKeyRoutesOptions): Router {
  const { store, pepper, maxBodyBytes } = options;
  const authorize = createAdminGuard(options.adminKey, pepper);
  const { newKeySchema, keyChangesSchema } = keySchemas(options.now);
  const router = Router();

  router.post('/v1/admin/tenants/:tenantId/keys', async (request, response) => {
    authorize(request);
    const { tenantId } = validate(tenantPath, request.params);
    const body = await readJsonBody(request, maxBodyBytes);
    const given = validate(newKeySchema, body);
    const raw = limitsIn(body);
    const { key, displayPrefix } = newApiKey();
    const { apiKeyId } = await store.createApiKey({
      ...{ tenantId, name: given.name, keyHash: hashApiKey(key, pepper), prefix: displayPrefix },
      ...(given.expiresAt !== undefined && { expiresAtMs: given.expiresAt }),
      ...raw,
    });
    const expiry = given.expiresAt !== undefined && { expiresAt: iso(given.expiresAt) };
    sendJson(response, 201, { id: apiKeyId, object: 'api_key', tenantId, name: given.name, ...expiry, ...raw, key });
  });

  router.get('/v1/admin/tenants/:tenantId/keys', async (request, response) => {
    authorize(request);
    const { tenantId } = await requireTenant(store, request);
    const keys = await store.listApiKeys(tenantId);
    sendJson(response, 200, { object: 'list', data: keys.map((key) => apiKeyView(tenantId, key)) });
  });

  router.patch('/v1/admin/keys/:apiKeyId', async (request, response) => {
    authorize(request);
    const { apiKeyId } = request.params;
    const body = await readJsonBody(request, maxBodyBytes);
    const changes = validate(keyChangesSchema, body);
    const key = await store.updateApiKey({
      ...{ apiKeyId, name: changes.name, expiresAtMs: changes.expiresAt },
      ...(changes.limits === null ? { limits: {} } : limitsIn(body)),
    });
    if (!key) throw notFound('API key', 'apiKeyId');
    sendJson(response, 200, apiKeyView(key.tenantId, key));
  });

  router.delete('/v1/admin/keys/:apiKeyId', async (request, response) => {
    authorize(request);
    const { apiKeyId } = request.params;
    if (!isUuid(apiKeyId) || !(await store.revokeApiKey(apiKeyId))) throw notFound('API key', 'apiKeyId');
    sendJson(response, 200, { id: apiKeyId, object: 'api_key', revoked: true });
  });

  router.get('/v1/admin/tenants/:tenantId/producers', async (request, response) => {
    authorize(request);
    const { tenantId } = await requireTenant(store, request);
    const producers = await store.listProducers(tenantId);
    sendJson(response, 200, { object: 'list', data: producers.map(producerView) });
  });

  router.put('/v1/admin/producers/:userId', async (request, response) => {
    authorize(request);
    const { userId } = validate(userPath, request.params);
    const body = await readJsonBody(request, maxBodyBytes);
    const { tenantId } = validate(producerSchema, body);
    const { apiKeyId } = await store.upsertProducer({ userId, tenantId });
    const key = await store.updateApiKey({ apiKeyId, ...limitsIn(body) });
    if (!key) throw notFound('producer', 'userId');
    sendJson(response, 200, producerDetails(userId, tenantId, key));
  });

  router.get('/v1/admin/producers/:userId', async (request, response) => {
    authorize(request);
    const { userId } = validate(userPath, request.params);
    const producer = await store.findProducer(userId);
    const keys = producer ? await store.listApiKeys(producer.tenantId) : [];
    const key = keys.find(({ apiKeyId }) => apiKeyId === producer?.apiKeyId);
    if (!producer || !key) throw notFound('producer', 'userId');
    sendJson(response, 200, producerDetails(userId, producer.tenantId, key));
  });

  router.delete('/v1/admin/producers/:userId', async (request, response) => {
    authorize(request);
    const { userId } = validate(userPath, request.params);
    if (!(await store.deleteProducer(userId))) throw notFound('producer', 'userId');
    sendJson(response, 200, { id: userId, object: 'producer', deleted: true });
  });

  return router;
}

/** n.b. stored as they were written: what the schema makes of them (nano-USD, say) cannot be read back. */
function limitsIn(body: unknown): { readonly limits?: unknown } {
  const { limits } = body as { readonly limits?: unknown };
  return limits === undefined ? {} : { limits };
}

function notFound(what: string, field: string): ServiceError {
  return new ServiceError('not_found', `No such ${what}.`, { fields: [{ field, reason: `names no ${what}` }] });
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function apiKeyView(tenantId: string, key: ApiKey) {
  const { apiKeyId, name: label, prefix, limits, producer, createdAtMs, expiresAtMs, revokedAtMs } = key;
  return {
    ...{ id: apiKeyId, object: 'api_key', tenantId, name: label, prefix, limits },
    ...(producer !== undefined && { producer }),
    createdAt: iso(createdAtMs),
    ...(expiresAtMs !== undefined && { expiresAt: iso(expiresAtMs) }),
    ...(revokedAtMs !== undefined && { revokedAt: iso(revokedAtMs) }),
  };
}

function producerView({ userId, tenantId, apiKeyId, createdAtMs }: Producer) {
  return { id: userId, object: 'producer', tenantId, apiKeyId, createdAt: iso(createdAtMs) };
}

/** With what its API key says of it; that is changed as any other key. */
function producerDetails(userId: string, tenantId: string, { apiKeyId, limits, expiresAtMs }: ApiKey) {
  const expiry = expiresAtMs !== undefined && { expiresAt: iso(expiresAtMs) };
  return { id: userId, object: 'producer', tenantId, apiKeyId, limits, ...expiry };
}
