import {
  isUuid,
  type LimitChanges,
  limitChangesSchema,
  type Overrides,
  overridesSchema,
  ServiceError,
} from '@sluice/contracts';
import { apiKeyOf, type ApiKeyRow, principalOf, type PrincipalRow, tenantOf, type TenantRow } from './account-rows.js';
import type { Database } from './database.js';
import { requireReadable } from './own-limits.js';
import { loadStatement } from './statements.js';
import { createTimeZones } from './time-zones.js';

/** Who makes a request: what an API key, or a user of the broker, stands for. */
export interface Principal {
  readonly tenantId: string;
  readonly apiKeyId: string;
  /** Name of a plan of the configuration. */
  readonly plan: string;
  /** IANA name. */
  readonly timeZone: string;
  /** What the tenant has otherwise than its plan. */
  readonly overrides: Overrides;
  /** What the key has otherwise than the plan gives each key. */
  readonly keyLimits: LimitChanges;
  /** From then on the key is refused (Unix milliseconds); never when absent. Whoever keeps a principal compares it at each use. */
  readonly expiresAtMs?: number;
}

export interface NewTenant {
  readonly tenantId: string;
  readonly plan: string;
  /** IANA name in any case; stored as PostgreSQL spells it. When absent, what is stored stays; `UTC` for a new tenant. */
  readonly timeZone?: string | undefined;
  /** As contracts `overridesSchema` takes it; `{}` removes all. When absent, what is stored stays. */
  readonly overrides?: unknown;
}

/** A tenant as it is stored. Times are Unix milliseconds. */
export interface Tenant {
  readonly tenantId: string;
  readonly plan: string;
  readonly timeZone: string;
  /** As the operator wrote them; `{}` when there are none. */
  readonly overrides: unknown;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export interface TenantPage {
  /** Tenants whose ids sort after this one, by bytes; from the first when absent. */
  readonly after?: string;
  /** Most tenants to return. */
  readonly limit: number;
}

export interface NewApiKey {
  readonly tenantId: string;
  /** For people. */
  readonly name: string;
  /** Keyed hash of the secret, 32 bytes. */
  readonly keyHash: Buffer;
  /** First characters of the secret, for people. */
  readonly prefix: string;
  /** From then on the key is refused (Unix milliseconds); never when absent. */
  readonly expiresAtMs?: number;
  /** As contracts `limitChangesSchema` takes it; none when absent. */
  readonly limits?: unknown;
}

/** What of an API key is changed; what is absent stays. */
export interface ApiKeyChanges {
  readonly apiKeyId: string;
  readonly name?: string | undefined;
  /** As contracts `limitChangesSchema` takes it, instead of what was stored; `{}` removes all. */
  readonly limits?: unknown;
  /** From then on the key is refused (Unix milliseconds); null for never. */
  readonly expiresAtMs?: number | null | undefined;
}

/** An API key without its hash. Times are Unix milliseconds. */
export interface ApiKey {
  readonly apiKeyId: string;
  readonly name: string;
  readonly prefix: string;
  /** As the operator wrote them; `{}` when there are none. */
  readonly limits: unknown;
  /** The same as a request would meet them; undefined when they cannot be read (such a key is refused with 503). */
  readonly keyLimits: LimitChanges | undefined;
  /** The broker's user whose jobs are attributed to this key. */
  readonly producer: string | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
}

export interface Accounts {
  /**
   * Creates a tenant or changes it. What it was before is kept in `tenant_versions`.
   *
   * @throws ServiceError `invalid_request` for a time zone that does not exist or means another thing to PostgreSQL (see
   * time-zones.ts), and for overrides that cannot be read.
   */
  upsertTenant(tenant: NewTenant): Promise<void>;
  findTenant(tenantId: string): Promise<Tenant | undefined>;
  /** A page of tenants in the order of their ids. */
  listTenants(page: TenantPage): Promise<readonly Tenant[]>;
  /** @throws ServiceError `tenant_not_found`, or `invalid_request` for limits that cannot be read. */
  createApiKey(key: NewApiKey): Promise<{ readonly apiKeyId: string }>;
  /** All keys of a tenant, oldest first: also revoked and expired ones, and those of producers. */
  listApiKeys(tenantId: string): Promise<readonly ApiKey[]>;
  /**
   * Changes a key, also one that has expired. Undefined when there is none or it was revoked.
   *
   * @throws ServiceError `invalid_request` for limits that cannot be read.
   */
  updateApiKey(changes: ApiKeyChanges): Promise<(ApiKey & { readonly tenantId: string }) | undefined>;
  /** True when the key was valid until now. Revoking a producer's key ends its right to submit. */
  revokeApiKey(apiKeyId: string): Promise<boolean>;
  /**
   * Undefined when the key is unknown, revoked or expired.
   *
   * @throws ServiceError `quota_unavailable` when stored overrides or limits cannot be read (see own-limits.ts).
   */
  findPrincipal(keyHash: Buffer): Promise<Principal | undefined>;
}

const statements = {
  upsertTenant: loadStatement('upsert-tenant'),
  findTenant: loadStatement('find-tenant'),
  listTenants: loadStatement('list-tenants'),
  createApiKey: loadStatement('create-api-key'),
  listApiKeys: loadStatement('list-api-keys'),
  updateApiKey: loadStatement('update-api-key'),
  revokeApiKey: loadStatement('revoke-api-key'),
  findPrincipal: loadStatement('find-principal'),
};

export function createAccounts(database: Database): Accounts {
  const timeZones = createTimeZones(database);

  async function findTenant(tenantId: string): Promise<Tenant | undefined> {
    const [row] = await database.run<TenantRow>(statements.findTenant, [tenantId]);
    return row && tenantOf(row);
  }

  /** n.b. one that was taken before the rules became stricter stays until it is changed; v_recon_time_zone shows it. */
  async function zoneFor(tenantId: string, timeZone: string): Promise<string> {
    return timeZones.require(timeZone).catch(async (error: unknown) => {
      if ((await findTenant(tenantId))?.timeZone === timeZone) return timeZone;
      throw error;
    });
  }

  return {
    async upsertTenant({ tenantId, plan, timeZone, overrides }) {
      if (overrides !== undefined) requireReadable(overridesSchema, 'overrides', overrides);
      const zone = timeZone === undefined ? null : await zoneFor(tenantId, timeZone);
      const values = [tenantId, plan, zone, overrides === undefined ? null : JSON.stringify(overrides)];
      await database.run(statements.upsertTenant, values);
    },

    findTenant,

    async listTenants({ after = '', limit }) {
      return (await database.run<TenantRow>(statements.listTenants, [after, limit])).map(tenantOf);
    },

    async createApiKey({ tenantId, name, keyHash, prefix, expiresAtMs, limits = {} }) {
      requireReadable(limitChangesSchema, 'limits', limits);
      const values = [tenantId, name, keyHash, prefix, expiresAtMs ?? null, JSON.stringify(limits)];
      const [row] = await database.run<{ api_key_id: string }>(statements.createApiKey, values);
      if (row === undefined) throw new ServiceError('tenant_not_found', `There is no tenant "${tenantId}".`);
      return { apiKeyId: row.api_key_id };
    },

    async listApiKeys(tenantId) {
      return (await database.run<ApiKeyRow>(statements.listApiKeys, [tenantId])).map(apiKeyOf);
    },

    async updateApiKey({ apiKeyId, name, limits, expiresAtMs }) {
      if (!isUuid(apiKeyId)) return undefined;
      if (limits !== undefined) requireReadable(limitChangesSchema, 'limits', limits);
      const written = limits === undefined ? null : JSON.stringify(limits);
      const values = [apiKeyId, name ?? null, written, expiresAtMs !== undefined, expiresAtMs ?? null];
      const [row] = await database.run<ApiKeyRow & { tenant_id: string }>(statements.updateApiKey, values);
      return row && { ...apiKeyOf(row), tenantId: row.tenant_id };
    },

    async revokeApiKey(apiKeyId) {
      if (!isUuid(apiKeyId)) return false;
      return (await database.run(statements.revokeApiKey, [apiKeyId])).length > 0;
    },

    async findPrincipal(keyHash) {
      const [row] = await database.run<PrincipalRow>(statements.findPrincipal, [keyHash]);
      return row && principalOf(row);
    },
  };
}
