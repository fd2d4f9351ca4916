import { readFileSync } from 'node:fs';

/** The parts of `.local/run.json`, which `npm start` writes, that a producer needs. */
export interface Suite {
  /** Base URL of the gateway. */
  readonly url: string;
  readonly adminKey: string;
  readonly demo: { readonly tenantId: string };
  readonly servers: { readonly SLUICE_RABBITMQ_URL: string };
}

/** The suite that runs on this machine; SLUICE_RUN_FILE names another run file. */
export function readSuite(): Suite {
  const path = process.env.SLUICE_RUN_FILE ?? new URL('../../../.local/run.json', import.meta.url);
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Suite;
  } catch (cause) {
    throw new Error('No suite runs here: start one by `npm start` in the repository.', { cause });
  }
}

/** The user of the broker in its URL. */
export function brokerUser(suite: Suite): string {
  return decodeURIComponent(new URL(suite.servers.SLUICE_RABBITMQ_URL).username) || 'guest';
}

/** Lets a user of the broker submit jobs for the demo tenant. An operator does this once for each service. */
export async function registerProducer({ url, adminKey, demo }: Suite, user: string): Promise<void> {
  const response = await fetch(new URL(`/v1/admin/producers/${encodeURIComponent(user)}`, url), {
    method: 'PUT',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ tenantId: demo.tenantId }),
  });
  if (!response.ok) throw new Error(`The producer was not registered: ${await response.text()}`);
}
