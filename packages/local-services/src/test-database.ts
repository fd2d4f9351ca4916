import { Client, escapeIdentifier } from 'pg';
import { uniqueName } from './test-services.js';

export interface TestDatabase {
  readonly url: string;
  /** Ends its sessions and removes it. Safe twice. */
  drop(): Promise<void>;
}

/**
 * A database of its own, empty or a copy of `template` (fast; nobody may be connected to the template meanwhile).
 *
 * @param postgresUrl of a user who may create databases.
 */
export async function createTestDatabase(
  postgresUrl: string,
  { template = 'template0' }: { readonly template?: string } = {},
): Promise<TestDatabase> {
  const name = uniqueName('test_');
  await execute(postgresUrl, `CREATE DATABASE ${escapeIdentifier(name)} TEMPLATE ${escapeIdentifier(template)}`);
  const url = new URL(postgresUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    drop: () => execute(postgresUrl, `DROP DATABASE IF EXISTS ${escapeIdentifier(name)} WITH (FORCE)`),
  };
}

async function execute(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url, application_name: 'sluice-tests' });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
