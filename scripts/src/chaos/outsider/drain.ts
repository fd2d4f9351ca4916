import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '../../postgres-client.js';
import { countOpenJobs } from './books.js';
import type { QuotaSample } from './observations.js';
import { readLimits } from './samples.js';
import type { Account, Tenants } from './tenants.js';
import type { Drain } from './verdict.js';

export interface DrainOptions {
  readonly tenants: Tenants;
  /** Of PostgreSQL itself. */
  readonly postgresUrl: string;
  readonly urls: () => readonly string[];
  readonly drainTimeoutMs: number;
}

const POLL_MS = 500;
/** So many looks in a row must find nothing: a submission may have been on its way to the books. */
const QUIET_LOOKS = 6;
const TIMEOUT_MS = 10_000;

/** Waits until no job is open in PostgreSQL and nothing is held for any key, for three seconds. */
export async function drainSuite({ tenants, postgresUrl, urls, drainTimeoutMs }: DrainOptions): Promise<Drain> {
  const startedAtMs = performance.now();
  const tenantIds = [...new Set(tenants.clients.map(({ tenantId }) => tenantId))];
  let waitedFor = '';
  for (let quiet = 0; quiet < QUIET_LOOKS; await sleep(POLL_MS)) {
    waitedFor = await openWork({ tenants, postgresUrl, urls, tenantIds }).catch(
      (error: unknown) => `an answer: ${error instanceof Error ? error.message : String(error)}`,
    );
    quiet = waitedFor === '' ? quiet + 1 : 0;
    if (performance.now() - startedAtMs > drainTimeoutMs) break;
  }
  return { complete: waitedFor === '', durationMs: performance.now() - startedAtMs, waitedFor };
}

type Look = Omit<DrainOptions, 'drainTimeoutMs'> & { readonly tenantIds: readonly string[] };

/** What is not at rest, in words. */
async function openWork({ tenants, postgresUrl, urls, tenantIds }: Look): Promise<string> {
  const open = await withClient(postgresUrl, (client) => countOpenJobs(client, tenantIds));
  if (open > 0) return `${open} open jobs`;
  const held = (await readFinalLimits({ tenants, urls })).flatMap(({ tenantId, limits }) =>
    limits.filter((limit) => limit.held > 0).map((limit) => `${limit.held} held of ${tenantId} ${limit.name}`),
  );
  return held.slice(0, 3).join(', ');
}

/** The limits of every key. Rejects when a gateway cannot tell them. */
export async function readFinalLimits({
  tenants,
  urls,
}: Pick<DrainOptions, 'tenants' | 'urls'>): Promise<readonly QuotaSample[]> {
  return Promise.all(
    tenants.clients.map(async ({ tenantId, apiKeyId, key }: Account, index): Promise<QuotaSample> => {
      const all = urls();
      const limits = await readLimits(all[index % all.length] ?? '', key, { timeoutMs: TIMEOUT_MS });
      if (!limits) throw new Error(`the limits of ${tenantId} cannot be told`);
      return { kind: 'quota', atMs: Date.now(), tenantId, apiKeyId, limits };
    }),
  );
}
