import { availableParallelism, release, totalmem } from 'node:os';
import { z } from 'zod';
import type { World } from './world.js';

/** Where a run took place. */
export type Conditions = Readonly<Record<string, string | number>>;

const overviewSchema = z.object({ rabbitmq_version: z.string(), erlang_version: z.string() });
const BYTES_PER_GIB = 2 ** 30;

/** Asks the servers for their versions. */
export async function readConditions({ withPostgres, withRedis, management }: World): Promise<Conditions> {
  const postgres = await withPostgres(
    async (client) => (await client.query<{ server_version: string }>('SHOW server_version')).rows[0]?.server_version,
  );
  const redis = await withRedis(async (client) => /redis_version:(\S+)/.exec(await client.info('server'))?.[1]);
  const overview = overviewSchema.parse(await management('GET', 'overview'));
  return {
    node: process.version,
    PostgreSQL: postgres ?? 'unknown',
    Redis: redis ?? 'unknown',
    RabbitMQ: `${overview.rabbitmq_version} (Erlang ${overview.erlang_version})`,
    system: `${process.platform} ${release()} ${process.arch}`,
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / BYTES_PER_GIB),
  };
}
