import { randomBytes } from 'node:crypto';

/** The variables that name the servers, for programs and tests alike. */
export const SERVER_VARIABLES = {
  postgresUrl: 'SLUICE_POSTGRES_URL',
  redisUrl: 'SLUICE_REDIS_URL',
  rabbitmqUrl: 'SLUICE_RABBITMQ_URL',
  rabbitmqManagementUrl: 'SLUICE_RABBITMQ_MANAGEMENT_URL',
} as const;

export type TestServices = Readonly<Record<keyof typeof SERVER_VARIABLES, string>>;

/**
 * The servers a test runs against, from the environment.
 *
 * @throws Error that names every absent variable and says how to get them.
 */
export function testServices(environment: NodeJS.ProcessEnv = process.env): TestServices {
  const absent = Object.values(SERVER_VARIABLES).filter((name) => !environment[name]);
  if (absent.length > 0) {
    throw new Error(
      `${absent.join(', ')} not set. Run these tests with jest's globalSetup "@sluice/local-services/jest-global-setup", ` +
        'which starts the servers, or set the variables to servers of your own.',
    );
  }
  const entries = Object.entries(SERVER_VARIABLES).map(([key, name]) => [key, environment[name] ?? '']);
  return Object.fromEntries(entries) as TestServices;
}

/** For Redis: a prefix that no other test uses, such as `test-9f3c…`. */
export function uniqueKeyPrefix(): string {
  return uniqueName('test-');
}

/** `prefix` and 16 random hexadecimal digits. */
export function uniqueName(prefix: string): string {
  return `${prefix}${randomBytes(8).toString('hex')}`;
}
