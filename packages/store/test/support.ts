import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import type { CompletedMessage } from '@sluice/contracts';
import { createTestDatabase, type TestDatabase, testServices } from '@sluice/local-services';
import { createLogger, type Logger } from '@sluice/runtime';
import { Client, type QueryResultRow } from 'pg';
import { type AcceptedFact, createStore, type Fact, migrate, type Store } from '../src/index.js';
import { exactTypes } from '../src/database.js';

const silent = createLogger({ app: 'test', level: 'silent' });
export { silent as logger };

/** A store on a fresh copy of a migrated database for each test of a file. */
export interface Books {
  readonly url: string;
  readonly store: Store;
  /** Another store on the same database; stopped after the test. */
  another(logger?: Logger): Promise<Store>;
  /** Any SQL, as the owner. */
  query<Row extends QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

export function useBooks(): Books {
  let template: TestDatabase;
  let database: TestDatabase;
  let client: Client;
  let stores: Store[] = [];

  async function startStore(logger = silent): Promise<Store> {
    const options = { applicationName: 'store-test', poolSize: 3, statementTimeoutMs: 20_000, logger };
    const store = createStore({ url: database.url, ...options });
    stores.push(store);
    await store.start();
    return store;
  }

  beforeAll(async () => {
    template = await createTestDatabase(testServices().postgresUrl);
    await migrate({ url: template.url, logger: silent });
  });
  beforeEach(async () => {
    const name = new URL(template.url).pathname.slice(1);
    database = await createTestDatabase(testServices().postgresUrl, { template: name });
    client = new Client({ connectionString: database.url, types: exactTypes() });
    await client.connect();
    await startStore();
  });
  afterEach(async () => {
    await Promise.all(stores.map((store) => store.stop()));
    stores = [];
    await client.end();
    await database.drop();
  });
  afterAll(() => template.drop());

  return {
    get url() {
      return database.url;
    },
    get store() {
      const [store] = stores;
      if (!store) throw new Error('There is no store outside a test');
      return store;
    },
    another: startStore,
    query: async <Row extends QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      (await client.query<Row>(text, [...values])).rows,
  };
}

export const KEY_ID = '00000000-0000-4000-8000-000000000001';
let minted = 0;

/** A valid job id that carries a given time (Unix milliseconds) and differs from all others of the process. */
export function jobIdAt(timeMs: number): string {
  const time = timeMs.toString(16).padStart(12, '0');
  const serial = (minted += 1).toString(16).padStart(12, '0');
  const pid = process.pid.toString(16).padStart(6, '0').slice(-3);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${pid}-8000-${serial}`;
}

type Overrides<T> = Partial<T> & { readonly jobId: string };

export function accepted(overrides: Overrides<AcceptedFact>): Fact {
  const message: AcceptedFact = {
    tenantId: 'acme',
    apiKeyId: KEY_ID,
    model: 'embedder',
    class: 'standard',
    inputTokens: 100,
    maxOutputTokens: 50,
    reservedTokens: 150,
    reservedNanoUsd: 0,
    expiresAtMs: Date.now() + 600_000,
    ...overrides,
  };
  return { type: 'accepted', message };
}

export function completed(overrides: Overrides<CompletedMessage>): Fact {
  const message: CompletedMessage = {
    tenantId: 'acme',
    apiKeyId: KEY_ID,
    model: 'embedder',
    class: 'standard',
    state: 'succeeded',
    usage: { inputTokens: 100, outputTokens: 20, cachedTokens: 0 },
    modelVersion: '1',
    attempt: 1,
    finishedAtMs: 1_790_000_000_123,
    ...overrides,
  };
  return { type: 'completed', message };
}
