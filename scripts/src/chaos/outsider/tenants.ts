/** A tenant's API key, as its client holds it. */
export interface Account {
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly key: string;
}
