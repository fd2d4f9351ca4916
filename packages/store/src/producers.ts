import { ServiceError } from '@sluice/contracts';
import { principalOf, type PrincipalRow } from './account-rows.js';
import type { Principal } from './accounts.js';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** A user of the broker that may submit jobs for a tenant. */
export interface Producer {
  /** The broker's user, which the broker itself validates on each message; 1–255 characters. */
  readonly userId: string;
  readonly tenantId: string;
  /** What its jobs are attributed to: an API key that nobody can present. */
  readonly apiKeyId: string;
  readonly createdAtMs: number;
}

export interface Producers {
  /**
   * Lets a user submit for a tenant; the same call again changes nothing. A user that submitted for another tenant now
   * submits for this one, under a new key.
   *
   * @throws ServiceError `tenant_not_found`.
   */
  upsertProducer(producer: Pick<Producer, 'userId' | 'tenantId'>): Promise<{ readonly apiKeyId: string }>;
  /**
   * For whom a user submits; undefined when it may not, also because its key was revoked.
   *
   * @throws ServiceError `quota_unavailable` when stored overrides or limits cannot be read.
   */
  findProducer(userId: string): Promise<Principal | undefined>;
  /** Who may submit for a tenant, by name. */
  listProducers(tenantId: string): Promise<readonly Producer[]>;
  /** True when the user could submit until now. Its key is revoked and stays listed. */
  deleteProducer(userId: string): Promise<boolean>;
}

const statements = {
  upsert: loadStatement('upsert-producer'),
  find: loadStatement('find-producer'),
  list: loadStatement('list-producers'),
  delete: loadStatement('delete-producer'),
};

type ProducerRow = Record<'user_id' | 'tenant_id' | 'api_key_id' | 'created_at_ms', string>;

export function createProducers(database: Database): Producers {
  return {
    async upsertProducer({ userId, tenantId }) {
      const [row] = await database.run<{ api_key_id: string | null }>(statements.upsert, [userId, tenantId]);
      const apiKeyId = row?.api_key_id ?? undefined;
      if (apiKeyId === undefined) throw new ServiceError('tenant_not_found', `There is no tenant "${tenantId}".`);
      return { apiKeyId };
    },

    async findProducer(userId) {
      const [row] = await database.run<PrincipalRow>(statements.find, [userId]);
      return row && principalOf(row);
    },

    async listProducers(tenantId) {
      const rows = await database.run<ProducerRow>(statements.list, [tenantId]);
      return rows.map((row) => ({
        userId: row.user_id,
        tenantId: row.tenant_id,
        apiKeyId: row.api_key_id,
        createdAtMs: Math.floor(Number(row.created_at_ms)),
      }));
    },

    async deleteProducer(userId) {
      return (await database.run(statements.delete, [userId])).length > 0;
    },
  };
}
