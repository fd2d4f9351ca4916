import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { Client } from 'pg';

/** Asks the three servers what they are. */
export async function serverVersions(
  environment: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  const [rabbitmq, redis, postgresql] = await Promise.all([
    rabbitMqVersion(environment['SLUICE_RABBITMQ_URL'] ?? ''),
    redisVersion(environment['SLUICE_REDIS_URL'] ?? ''),
    postgresVersion(environment['SLUICE_POSTGRES_URL'] ?? ''),
  ]);
  return { rabbitmq, redis, postgresql };
}

async function rabbitMqVersion(url: string): Promise<string> {
  const connection = await connect(url);
  const { version } = connection.connection.serverProperties;
  await connection.close();
  return version;
}

async function redisVersion(url: string): Promise<string> {
  const redis = new Redis(url);
  const information = await redis.info('server');
  await redis.quit();
  return /redis_version:(\S+)/.exec(information)?.[1] ?? 'unknown';
}

async function postgresVersion(url: string): Promise<string> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
  await client.end();
  return rows[0]?.server_version ?? 'unknown';
}
