/** The floor's gateway: reserve in Redis, publish with a confirm, answer 202. No authentication, no validation. */
import type { AddressInfo } from 'node:net';
import { jobIdTimeMs, newJobId } from '@sluice/contracts';
import express from 'express';
import { Redis } from 'ioredis';
import { sourceFile } from '../source-file.js';
import { FLOOR_QUEUES, floorKeys, type FloorJob } from './messages.js';
import { confirmedSender, connectRabbitMq, runRole, type FloorServers } from './role.js';

const HOLD_MS = 60_000;

type Reserve = (job: FloorJob) => Promise<boolean>;

async function createReserve(redisUrl: string): Promise<Reserve> {
  const redis = new Redis(redisUrl);
  redis.defineCommand('reserve', { numberOfKeys: 4, lua: await sourceFile('lua/floor-reserve-4.lua') });
  // n.b. defineCommand adds the method at run time; the types cannot know it.
  const client = redis as Redis & { reserve(...args: (string | number)[]): Promise<number> };
  return async ({ jobId, tenantId, tokens }) => {
    const { limits, counters, expiries, hold } = floorKeys(tenantId);
    const now = jobIdTimeMs(jobId);
    return (await client.reserve(limits, counters, expiries, hold(jobId), now, tokens, jobId, HOLD_MS)) === 1;
  };
}

await runRole(async (servers: FloorServers) => {
  const reserve = await createReserve(servers.redisUrl);
  const send = confirmedSender(await (await connectRabbitMq(servers)).createConfirmChannel());
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.use(express.json());
  app.post('/v1/jobs', async (request, response) => {
    const { model, input } = request.body as { model: string; input: string };
    const tenantId = request.get('x-tenant') ?? '';
    const job: FloorJob = { jobId: newJobId(), tenantId, model, input, tokens: input.length };
    if (!(await reserve(job))) {
      response.status(429).json({ error: 'limit' });
      return;
    }
    await send(FLOOR_QUEUES.jobs, job);
    response.status(202).json({ id: job.jobId, state: 'queued' });
  });
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => resolve({ port: (server.address() as AddressInfo).port }));
  });
});
