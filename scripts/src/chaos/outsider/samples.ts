import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { call } from '../../client.js';
import type { Random } from '../random.js';
import type { Journal } from './journal.js';
import type { ShownLimit } from './observations.js';
import type { Account } from './tenants.js';

export interface SamplerOptions {
  readonly urls: () => readonly string[];
  readonly dispatcher: Dispatcher;
  readonly journal: Journal;
  readonly accounts: readonly Account[];
  readonly random: Random;
}

const INTERVAL_MS = 700;
const TIMEOUT_MS = 3_000;

/** Asks for each key's limits again and again until it is stopped, and notes every answer. */
export function startSampler(options: SamplerOptions): { stop(): Promise<void> } {
  const { urls, dispatcher, journal, accounts, random } = options;
  let stopped = false;

  async function sample({ tenantId, apiKeyId, key }: Account): Promise<void> {
    const limits = await readLimits(random.pick(urls()), key, { dispatcher, timeoutMs: TIMEOUT_MS }).catch(
      () => undefined,
    );
    if (limits) journal.note({ kind: 'quota', tenantId, apiKeyId, limits });
  }

  async function run(): Promise<void> {
    while (!stopped) {
      await Promise.all(accounts.map(sample));
      await sleep(INTERVAL_MS);
    }
  }
  const running = run();
  return {
    async stop() {
      stopped = true;
      await running;
    },
  };
}

/** The limits of an API key, its tenant's included; undefined when the gateway cannot tell them now. */
export async function readLimits(
  url: string,
  key: string,
  options: { readonly dispatcher?: Dispatcher; readonly timeoutMs: number },
): Promise<readonly ShownLimit[] | undefined> {
  const { status, body } = await call<{ readonly limits: readonly ShownLimit[] }>(url, '/v1/quota', {
    key,
    ...options,
  });
  return status === 200 ? body.limits : undefined;
}
