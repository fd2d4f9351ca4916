import { limitChangesSchema } from '@sluice/contracts';
import type { ApiKey, Principal, Tenant } from '../accounts.js';
import { readKeyLimits, readOverrides } from '../own-limits.js';
import { compareText } from './tables.js';

/** A tenant as it is put into the model; times are Unix milliseconds. */
export interface ModelTenant {
  readonly tenantId: string;
  readonly plan: string;
  /** `UTC` when absent. */
  readonly timeZone?: string;
  /** As `overridesSchema` takes it; none when absent. */
  readonly overrides?: unknown;
  readonly createdAtMs?: number;
  readonly updatedAtMs?: number;
}

/** An API key as it is put into the model; times are Unix milliseconds. */
export interface ModelApiKey {
  readonly apiKeyId: string;
  readonly tenantId: string;
  /** Keyed hash of the secret. */
  readonly keyHash: Buffer;
  readonly name?: string;
  readonly prefix?: string;
  /** As `limitChangesSchema` takes it; none when absent. */
  readonly limits?: unknown;
  readonly createdAtMs?: number;
  readonly expiresAtMs?: number;
  readonly revokedAtMs?: number;
}

/** A user of the broker that submits for a tenant under an API key that was put before. */
export interface ModelProducer {
  readonly userId: string;
  readonly tenantId: string;
  readonly apiKeyId: string;
}

/** The tables `tenants`, `api_keys` and `producers`. A second `put` of the same replaces it. */
export interface AccountTables {
  putTenant(tenant: ModelTenant): void;
  putApiKey(key: ModelApiKey): void;
  putProducer(producer: ModelProducer): void;
  findTenant(tenantId: string): Tenant | undefined;
  listApiKeys(tenantId: string): readonly ApiKey[];
  findPrincipal(nowMs: number, keyHash: Buffer): Principal | undefined;
  findProducer(userId: string): Principal | undefined;
}

export function createAccountTables(): AccountTables {
  const tenants = new Map<string, Tenant>();
  const keys = new Map<string, ModelApiKey>();
  const keyIdByHash = new Map<string, string>();
  const producers = new Map<string, ModelProducer>();
  /** Parsed once until an account changes: principals are asked for all the time. */
  const principals = new Map<string, Principal>();

  function principalOf(key: ModelApiKey): Principal | undefined {
    const known = principals.get(key.apiKeyId);
    if (known !== undefined) return known;
    const tenant = tenants.get(key.tenantId);
    if (tenant === undefined) return undefined;
    const principal: Principal = {
      tenantId: tenant.tenantId,
      apiKeyId: key.apiKeyId,
      plan: tenant.plan,
      timeZone: tenant.timeZone,
      overrides: readOverrides(tenant.overrides, tenant.tenantId),
      keyLimits: readKeyLimits(key.limits ?? {}, key.apiKeyId),
      ...(key.expiresAtMs !== undefined && { expiresAtMs: key.expiresAtMs }),
    };
    principals.set(key.apiKeyId, principal);
    return principal;
  }

  return {
    putTenant({ tenantId, plan, timeZone = 'UTC', overrides = {}, createdAtMs = 0, updatedAtMs = createdAtMs }) {
      tenants.set(tenantId, { tenantId, plan, timeZone, overrides, createdAtMs, updatedAtMs });
      principals.clear();
    },

    putApiKey(key) {
      keys.set(key.apiKeyId, key);
      keyIdByHash.set(key.keyHash.toString('hex'), key.apiKeyId);
      principals.clear();
    },

    putProducer(producer) {
      producers.set(producer.userId, producer);
    },

    findTenant: (tenantId) => tenants.get(tenantId),

    listApiKeys(tenantId) {
      const owner = new Map([...producers.values()].map(({ apiKeyId, userId }) => [apiKeyId, userId]));
      return [...keys.values()]
        .filter((key) => key.tenantId === tenantId)
        .map((key) => toApiKey(key, owner.get(key.apiKeyId)))
        .sort((a, b) => a.createdAtMs - b.createdAtMs || compareText(a.apiKeyId, b.apiKeyId));
    },

    findPrincipal(nowMs, keyHash) {
      const key = keys.get(keyIdByHash.get(keyHash.toString('hex')) ?? '');
      if (key === undefined || key.revokedAtMs !== undefined || (key.expiresAtMs ?? Infinity) <= nowMs)
        return undefined;
      return principalOf(key);
    },

    findProducer(userId) {
      const key = keys.get(producers.get(userId)?.apiKeyId ?? '');
      return key === undefined || key.revokedAtMs !== undefined ? undefined : principalOf(key);
    },
  };
}

function toApiKey(key: ModelApiKey, producer: string | undefined): ApiKey {
  const { apiKeyId, name = '', prefix = '', limits = {}, createdAtMs = 0, expiresAtMs, revokedAtMs } = key;
  const keyLimits = limitChangesSchema.safeParse(limits).data;
  return { apiKeyId, name, prefix, limits, keyLimits, producer, createdAtMs, expiresAtMs, revokedAtMs };
}
