/** Every key of a tenant has the tenant as its hash tag, so one script may touch them all on Redis Cluster too. */
export interface TenantKeys {
  readonly quota: string;
  readonly holds: string;
  readonly expiries: string;
  job(jobId: string): string;
  idempotency(keyHash: string): string;
}

export function tenantKeys(keyPrefix: string, tenantId: string): TenantKeys {
  const base = `${keyPrefix}:{${tenantId}}`;
  return {
    quota: `${base}:quota`,
    holds: `${base}:holds`,
    expiries: `${base}:expiries`,
    job: (jobId) => `${base}:job:${jobId}`,
    idempotency: (keyHash) => `${base}:idem:${keyHash}`,
  };
}

/** The set of tenants that were ever loaded: where the sweeper looks. In a slot of its own. */
export function tenantsKey(keyPrefix: string): string {
  return `${keyPrefix}:tenants`;
}

/** The channel on which a job's end is published. */
export function doneChannel(keyPrefix: string, tenantId: string, jobId: string): string {
  return `${keyPrefix}:{${tenantId}}:done:${jobId}`;
}
