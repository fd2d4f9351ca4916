import { limitChangesSchema } from '@sluice/contracts';
import type { ApiKey, Principal, Tenant } from './accounts.js';
import { readKeyLimits, readOverrides } from './own-limits.js';

/** Rows of find-principal.sql and find-producer.sql. */
export type PrincipalRow = Record<'tenant_id' | 'api_key_id' | 'plan' | 'time_zone', string> &
  Record<'overrides' | 'limits', unknown> & { readonly expires_at_ms: string | null };

/** Rows of find-tenant.sql and list-tenants.sql. */
export type TenantRow = Record<'tenant_id' | 'plan' | 'time_zone' | 'created_at_ms' | 'updated_at_ms', string> & {
  readonly overrides: unknown;
};

/** Rows of list-api-keys.sql and update-api-key.sql. */
export type ApiKeyRow = Record<'api_key_id' | 'name' | 'prefix' | 'created_at_ms', string> &
  Record<'producer' | 'expires_at_ms' | 'revoked_at_ms', string | null> & { readonly limits: unknown };

/** @throws ServiceError `quota_unavailable` when stored overrides or limits cannot be read. */
export function principalOf(row: PrincipalRow): Principal {
  return {
    tenantId: row.tenant_id,
    apiKeyId: row.api_key_id,
    plan: row.plan,
    timeZone: row.time_zone,
    overrides: readOverrides(row.overrides, row.tenant_id),
    keyLimits: readKeyLimits(row.limits, row.api_key_id),
    ...(row.expires_at_ms !== null && { expiresAtMs: Math.floor(Number(row.expires_at_ms)) }),
  };
}

export function tenantOf(row: TenantRow): Tenant {
  return {
    tenantId: row.tenant_id,
    plan: row.plan,
    timeZone: row.time_zone,
    overrides: row.overrides,
    createdAtMs: Math.floor(Number(row.created_at_ms)),
    updatedAtMs: Math.floor(Number(row.updated_at_ms)),
  };
}

export function apiKeyOf(row: ApiKeyRow): ApiKey {
  return {
    apiKeyId: row.api_key_id,
    name: row.name,
    prefix: row.prefix,
    limits: row.limits,
    keyLimits: limitChangesSchema.safeParse(row.limits).data,
    producer: row.producer ?? undefined,
    createdAtMs: Math.floor(Number(row.created_at_ms)),
    expiresAtMs: optionalTime(row.expires_at_ms),
    revokedAtMs: optionalTime(row.revoked_at_ms),
  };
}

function optionalTime(text: string | null): number | undefined {
  return text === null ? undefined : Math.floor(Number(text));
}
