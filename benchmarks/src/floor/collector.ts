/** The floor's collector: gathers results, inserts them with one statement, settles in Redis, acknowledges them together. */
import { jobIdTimeMs } from '@sluice/contracts';
import type { Channel, ConsumeMessage } from 'amqplib';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { sourceFile } from '../source-file.js';
import { FLOOR_QUEUES, floorKeys, type FloorResult } from './messages.js';
import { connectRabbitMq, runRole } from './role.js';

const MAX_BATCH = 200;
const LINGER_MS = 10;
const PREFETCH = 4 * MAX_BATCH;

type Handle = (results: readonly FloorResult[]) => Promise<void>;

async function createRecord(url: string): Promise<Handle> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const text = await sourceFile('sql/floor-record.sql');
  return async (results) => {
    const column = <T>(of: (result: FloorResult) => T): T[] => results.map(of);
    await client.query({
      name: 'floor-record',
      text,
      values: [
        column(({ jobId }) => jobId),
        column(({ jobId }) => new Date(jobIdTimeMs(jobId))),
        column(({ finishedAtMs }) => new Date(finishedAtMs)),
        column(({ tenantId }) => tenantId),
        column(({ model }) => model),
        column(({ tokens }) => tokens),
        column(({ digest }) => digest),
      ],
    });
  };
}

async function createSettle(url: string): Promise<Handle> {
  const redis = new Redis(url);
  redis.defineCommand('settle', { numberOfKeys: 3, lua: await sourceFile('lua/floor-settle-3.lua') });
  return async (results) => {
    const pipeline = redis.pipeline() as ReturnType<Redis['pipeline']> & {
      settle(...args: (string | number)[]): unknown;
    };
    for (const { jobId, tenantId, tokens } of results) {
      const { counters, expiries, hold } = floorKeys(tenantId);
      pipeline.settle(counters, expiries, hold(jobId), jobId, tokens);
    }
    for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
  };
}

/** One batch at a time: a full one at once, a smaller one when the first of it has waited `LINGER_MS`. */
function createBatches(channel: Channel, handle: Handle): (message: ConsumeMessage) => void {
  const waiting: ConsumeMessage[] = [];
  let busy = false;
  let timer: NodeJS.Timeout | undefined;

  async function flush(): Promise<void> {
    timer = undefined;
    const batch = waiting.splice(0, MAX_BATCH);
    const last = batch.at(-1);
    if (!last) return;
    busy = true;
    await handle(batch.map(({ content }) => JSON.parse(content.toString()) as FloorResult));
    channel.ack(last, true);
    busy = false;
    schedule();
  }

  function schedule(): void {
    if (busy) return;
    if (waiting.length >= MAX_BATCH) {
      clearTimeout(timer);
      void flush();
    } else if (waiting.length > 0) {
      timer ??= setTimeout(() => void flush(), LINGER_MS);
    }
  }

  return (message) => {
    waiting.push(message);
    schedule();
  };
}

await runRole(async (servers) => {
  const record = await createRecord(servers.postgresUrl);
  const settle = await createSettle(servers.redisUrl);
  const channel = await (await connectRabbitMq(servers)).createChannel();
  await channel.prefetch(PREFETCH);
  const take = createBatches(channel, async (results) => {
    await record(results);
    await settle(results);
  });
  await channel.consume(FLOOR_QUEUES.results, (message) => {
    if (!message) throw new Error('the queue of results is gone');
    take(message);
  });
  return {};
});
