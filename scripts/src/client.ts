import { Agent, request, type Dispatcher } from 'undici';

export interface Answer<Body> {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Body;
}

export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly key?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** How long to wait for the answer; default 90 s. */
  readonly timeoutMs?: number;
  /** Whose connections are used; those that all calls share when absent. */
  readonly dispatcher?: Dispatcher;
}

const agent = new Agent({ connections: 128, headersTimeout: 90_000, bodyTimeout: 90_000 });

/** One call of the gateway; any status is an answer, only a broken connection throws. */
export async function call<Body>(url: string, path: string, options: CallOptions = {}): Promise<Answer<Body>> {
  const { statusCode, headers, body } = await request(new URL(path, url), {
    dispatcher: options.dispatcher ?? agent,
    method: options.method ?? 'GET',
    headers: {
      ...(options.key !== undefined && { authorization: `Bearer ${options.key}` }),
      ...(options.body !== undefined && { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
    ...(options.timeoutMs !== undefined && { signal: AbortSignal.timeout(options.timeoutMs) }),
  });
  return { status: statusCode, headers, body: (await body.json()) as Body };
}

/** `call`, insisting on success. */
export async function mustCall<Body>(url: string, path: string, options: CallOptions = {}): Promise<Body> {
  const { status, body } = await call<Body>(url, path, options);
  if (status >= 300) throw new Error(`${options.method ?? 'GET'} ${path} answered ${status}: ${JSON.stringify(body)}`);
  return body;
}

export async function closeClient(): Promise<void> {
  await agent.close();
}

export interface Tenant {
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly key: string;
}

const REVOKE_TIMEOUT_MS = 5_000;

/** Makes a tenant and a key for it, through the admin API. */
export async function createTenant(
  suite: { readonly url: string; readonly adminKey: string },
  tenant: { readonly tenantId: string; readonly plan: string; readonly timeZone?: string },
): Promise<Tenant> {
  const { tenantId, ...body } = tenant;
  const key = suite.adminKey;
  await mustCall(suite.url, `/v1/admin/tenants/${tenantId}`, { method: 'PUT', key, body });
  const created = await mustCall<{ id: string; key: string }>(suite.url, `/v1/admin/tenants/${tenantId}/keys`, {
    method: 'POST',
    key,
    body: { name: 'demo' },
  });
  return { tenantId, apiKeyId: created.id, key: created.key };
}

/** Makes the tenant's key worthless. The tenant and its books stay. */
export async function revokeKey(
  suite: { readonly url: string; readonly adminKey: string },
  { apiKeyId }: Tenant,
): Promise<void> {
  await mustCall(suite.url, `/v1/admin/keys/${apiKeyId}`, {
    method: 'DELETE',
    key: suite.adminKey,
    timeoutMs: REVOKE_TIMEOUT_MS,
  });
}
