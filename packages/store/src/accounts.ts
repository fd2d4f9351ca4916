import { ServiceError } from '@sluice/contracts';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** Who makes a request: what an API key stands for. */
export interface Principal {
  readonly tenantId: string;
  readonly apiKeyId: string;
  /** Name of a plan of the configuration. */
  readonly plan: string;
  /** IANA name. */
  readonly timeZone: string;
}

export interface Tenant {
  readonly tenantId: string;
  readonly plan: string;
  readonly timeZone: string;
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
}

export interface Accounts {
  /**
   * Creates a tenant or changes its plan and time zone.
   *
   * @throws ServiceError `invalid_request` for a time zone that does not exist.
   */
  upsertTenant(tenant: Tenant): Promise<void>;
  /** @throws ServiceError `tenant_not_found`. */
  createApiKey(key: NewApiKey): Promise<{ readonly apiKeyId: string }>;
  /** True when the key was valid until now. */
  revokeApiKey(apiKeyId: string): Promise<boolean>;
  /** Undefined when the key is unknown, revoked or expired. */
  findPrincipal(keyHash: Buffer): Promise<Principal | undefined>;
}

const statements = {
  upsertTenant: loadStatement('upsert-tenant'),
  createApiKey: loadStatement('create-api-key'),
  revokeApiKey: loadStatement('revoke-api-key'),
  findPrincipal: loadStatement('find-principal'),
};

export function createAccounts(database: Database): Accounts {
  return {
    async upsertTenant({ tenantId, plan, timeZone }) {
      requireTimeZone(timeZone);
      await database.run(statements.upsertTenant, [tenantId, plan, timeZone]);
    },

    async createApiKey({ tenantId, name, keyHash, prefix, expiresAtMs }) {
      const values = [tenantId, name, keyHash, prefix, expiresAtMs ?? null];
      const [row] = await database.run<{ api_key_id: string }>(statements.createApiKey, values);
      if (row === undefined) throw new ServiceError('tenant_not_found', `There is no tenant "${tenantId}".`);
      return { apiKeyId: row.api_key_id };
    },

    async revokeApiKey(apiKeyId) {
      return (await database.run(statements.revokeApiKey, [apiKeyId])).length > 0;
    },

    async findPrincipal(keyHash) {
      const [row] = await database.run<Record<'tenant_id' | 'api_key_id' | 'plan' | 'time_zone', string>>(
        statements.findPrincipal,
        [keyHash],
      );
      return row && { tenantId: row.tenant_id, apiKeyId: row.api_key_id, plan: row.plan, timeZone: row.time_zone };
    },
  };
}

/** n.b. PostgreSQL also takes POSIX zones such as `XYZ5`, any letters at all; other readers of the name do not. */
function requireTimeZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
  } catch (error) {
    throw new ServiceError('invalid_request', `There is no time zone "${timeZone}".`, {
      cause: error,
      fields: [{ field: 'timeZone', reason: 'must be an IANA time zone such as "Europe/Berlin"' }],
    });
  }
}
