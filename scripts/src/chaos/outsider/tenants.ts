import { mustCall } from '../../client.js';
import { loadInputs } from './inputs.js';

/** A tenant's API key, as its client holds it. */
export interface Account {
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly key: string;
}

/** One client of the load. */
export interface Client extends Account {
  /** Share of the load. */
  readonly weight: number;
  /** Whether it sometimes cancels jobs, and asks for early deadlines. */
  readonly fickle: boolean;
  /** `amqp`: submits to the exchange `ingest`; its key only reads. */
  readonly via: 'http' | 'amqp';
}

/** Who uses the suite in a run. */
export interface Tenants {
  readonly clients: readonly Client[];
}

export interface TenantsOptions {
  /** Base URL of a gateway. */
  readonly url: string;
  readonly adminKey: string;
  /** User of the broker that the producer connects as. */
  readonly brokerUser: string;
  /** Jobs per second that will be tried. */
  readonly perSecond: number;
  /** How long, in seconds: quotas and budgets are made to be used up after about half of it. */
  readonly seconds: number;
}

interface Definition {
  readonly tenantId: string;
  readonly timeZone: string;
  readonly overrides: object;
  readonly keys: number;
  readonly weight: number;
  readonly fickle: boolean;
  readonly via: Client['via'];
}

/** On average, of a mixed input; only sizes the budget. */
const NANO_USD_PER_JOB = 1_700;
const PLAN = 'standard';

/** What the tenants may use; a share of the load is what each weight is of their sum. */
function definitions(
  tenants: Pick<TenantsOptions, 'perSecond' | 'seconds'>,
  meanTokens: number,
): readonly Definition[] {
  const share = (weight: number): number => (tenants.perSecond * weight) / 100;
  const whole = (amount: number): number => Math.max(1, Math.round(amount));
  const halfRun = tenants.seconds / 2;
  const http = { via: 'http', keys: 1, fickle: true } as const;
  return [
    { ...http, tenantId: 'chaos-open', timeZone: 'UTC', keys: 2, weight: 34, overrides: {} },
    {
      ...{ ...http, tenantId: 'chaos-quota', timeZone: 'Asia/Kolkata', weight: 12 },
      overrides: { limits: { tokensPerDay: whole(share(12) * halfRun * meanTokens) } },
    },
    {
      ...{ ...http, tenantId: 'chaos-budget', timeZone: 'America/New_York', weight: 12 },
      overrides: { limits: { moneyPerMonth: usd(whole(share(12) * halfRun * NANO_USD_PER_JOB)) } },
    },
    {
      // n.b. not fickle: tokens that come back make room again, which windows of a rate would have to allow for.
      ...{ ...http, fickle: false, tenantId: 'chaos-rate', timeZone: 'UTC', weight: 12 },
      overrides: {
        limits: {
          requestsPerMinute: whole(share(12) * 60 * 0.7),
          tokensPerMinute: whole(share(12) * 60 * 0.7 * meanTokens),
        },
      },
    },
    {
      ...{ ...http, tenantId: 'chaos-flight', timeZone: 'UTC', weight: 10 },
      overrides: { limits: { concurrentJobs: 6, tokensInFlight: whole(8 * meanTokens) } },
    },
    {
      ...{ ...http, tenantId: 'chaos-keys', timeZone: 'Asia/Kathmandu', keys: 2, weight: 12 },
      overrides: {
        perApiKey: { tokensPerDay: whole(share(6) * halfRun * meanTokens) },
        perModel: {
          guesslang: { tokensPerDay: whole(share(12) * halfRun * meanTokens * 0.5), concurrentJobs: 4 },
          '*': { tokensPerMonth: whole(share(12) * halfRun * meanTokens) },
        },
      },
    },
    {
      ...{ tenantId: 'chaos-producer', timeZone: 'UTC', keys: 1, weight: 8, fickle: false, via: 'amqp' },
      overrides: { limits: { tokensPerDay: whole(share(8) * 1.5 * halfRun * meanTokens) } },
    },
  ];
}

/** Makes the tenants of a run with their limits, before it begins. */
export async function createTenants(options: TenantsOptions): Promise<Tenants> {
  const { meanTokens } = await loadInputs();
  const clients: Client[] = [];
  for (const definition of definitions(options, meanTokens))
    clients.push(...(await createClients(options, definition)));
  return { clients };
}

async function createClients(options: TenantsOptions, definition: Definition): Promise<readonly Client[]> {
  const { tenantId, timeZone, overrides, keys, weight, fickle, via } = definition;
  const { url, adminKey: key } = options;
  await mustCall(url, `/v1/admin/tenants/${tenantId}`, {
    method: 'PUT',
    key,
    body: { plan: PLAN, timeZone, overrides },
  });
  const clients: Client[] = [];
  for (let count = 1; count <= keys; count++) {
    const path = `/v1/admin/tenants/${tenantId}/keys`;
    const body = { name: `chaos ${count}` };
    const made = await mustCall<{ id: string; key: string }>(url, path, { method: 'POST', key, body });
    clients.push({ tenantId, apiKeyId: made.id, key: made.key, weight: weight / keys, fickle, via });
  }
  if (via === 'amqp') {
    const path = `/v1/admin/producers/${encodeURIComponent(options.brokerUser)}`;
    await mustCall(url, path, { method: 'PUT', key, body: { tenantId } });
  }
  return clients;
}

/** Nano-USD as the decimal string of dollars that the configuration takes. */
function usd(nanoUsd: number): string {
  return `${Math.floor(nanoUsd / 1e9)}.${String(nanoUsd % 1e9).padStart(9, '0')}`;
}
