import { overridesSchema, ServiceError, tenantIdSchema, type PlansFile } from '@sluice/contracts';
import type { Store, Tenant } from '@sluice/store';
import { Router, type Request } from 'express';
import { z } from 'zod';
import { equalSecrets } from '../api-keys.js';
import { readBearer } from '../authentication.js';
import type { Catalogue } from '../catalogue.js';
import { validate } from '../field-errors.js';
import { cursorAfter, listPage, readCursor } from '../page-cursor.js';
import { readJsonBody } from '../middleware/json-body.js';
import { sendJson } from '../middleware/respond.js';

export interface AdminRoutesOptions {
  readonly store: Pick<Store, 'upsertTenant' | 'findTenant' | 'listTenants'>;
  readonly plans: PlansFile;
  readonly catalogue: Pick<Catalogue, 'models'>;
  readonly adminKey: string | undefined;
  readonly pepper: string;
  readonly maxBodyBytes: number;
}

const MAX_PAGE = 200;

const isTenantId = (text: string): boolean => tenantIdSchema.safeParse(text).success;

/** The `:tenantId` of a path. */
export const tenantPath = z.object({ tenantId: tenantIdSchema });
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

/**
 * The tenant that the path names.
 *
 * @throws ServiceError `tenant_not_found`, or `invalid_request` for what is no tenant's id.
 */
export async function requireTenant(store: Pick<Store, 'findTenant'>, request: Request): Promise<Tenant> {
  const { tenantId } = validate(tenantPath, request.params);
  const tenant = await store.findTenant(tenantId);
  if (tenant) return tenant;
  throw new ServiceError('tenant_not_found', `There is no tenant "${tenantId}".`, {
    fields: [{ field: 'tenantId', reason: 'names no tenant' }],
  });
}

/** What an operator does with the admin key about tenants, their plans and limits. */
export function adminRoutes(options: AdminRoutesOptions): Router {
  const { store, maxBodyBytes } = options;
  const authorize = createAdminGuard(options.adminKey, options.pepper);
  const tenantSchema = tenantSchemaFor(options);
  const router = Router();

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
    sendJson(response, 200, tenantView(await requireTenant(store, request)));
  });

  router.put('/v1/admin/tenants/:tenantId', async (request, response) => {
    authorize(request);
    const { tenantId } = validate(tenantPath, request.params);
    const body = await readJsonBody(request, maxBodyBytes);
    const { plan, timeZone, overrides } = validate(tenantSchema, body);
    // n.b. stored as it was written: what the schema makes of it (nano-USD, say) cannot be read back.
    const raw = overrides && { overrides: (body as { readonly overrides: unknown }).overrides };
    await store.upsertTenant({ tenantId, plan, timeZone, ...raw });
    sendJson(response, 200, tenantView(await requireTenant(store, request)));
  });

  return router;
}

/** A tenant as operators send it; names of plans and models must exist in the configuration. */
function tenantSchemaFor({ plans, catalogue }: AdminRoutesOptions) {
  const overrides = overridesSchema.superRefine(({ perModel = {} }, context) => {
    const models = new Set(['*', ...catalogue.models.map(({ name }) => name)]);
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
  return tenantSchema;
}

function isTimeZone(name: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function tenantView({ tenantId, plan, timeZone, overrides, createdAtMs, updatedAtMs }: Tenant) {
  const times = { createdAt: iso(createdAtMs), updatedAt: iso(updatedAtMs) };
  return { id: tenantId, object: 'tenant', plan, timeZone, overrides, ...times };
}
