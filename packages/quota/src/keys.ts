/** Every key of a tenant has the tenant as its hash tag, so one script may touch them all on Redis Cluster too. */
export interface TenantKeys {
  readonly quota: string;
  readonly expiries: string;
  readonly learned: string;
  /** Of a load under way. */
  readonly load: string;
  readonly staged: string;
  readonly leaving: string;
  job(jobId: string): string;
  idempotency(keyHash: string): string;
}

export function tenantKeys(keyPrefix: string, tenantId: string): TenantKeys {
  const base = `${keyPrefix}:{${tenantId}}`;
  return {
    quota: `${base}:quota`,
    expiries: `${base}:expiries`,
    learned: `${base}:learned`,
    load: `${base}:load`,
    staged: `${base}:staged`,
    leaving: `${base}:leaving`,
    job: (jobId) => `${base}:job:${jobId}`,
    idempotency: (keyHash) => `${base}:idem:${keyHash}`,
  };
}

/** The field of the `quota` hash that keeps a hold. */
export function holdField(jobId: string): string {
  return `h:${jobId}`;
}

/** The set of tenants that were ever loaded: where the sweeper looks. In a slot of its own. */
export function tenantsKey(keyPrefix: string): string {
  return `${keyPrefix}:tenants`;
}

/** The channel on which a job's end is published. */
export function doneChannel(keyPrefix: string, tenantId: string, jobId: string): string {
  return `${keyPrefix}:{${tenantId}}:done:${jobId}`;
}
