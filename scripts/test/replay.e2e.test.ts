import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { EXCHANGES, HEADERS, QUEUES } from '@sluice/contracts';
import { connect, type ChannelModel } from 'amqplib';
import { closeClient, createTenant, mustCall, type Tenant } from '../src/client.js';
import type { Suite } from '../src/suite.js';
import { isolate, type Isolated } from './isolated-suite.js';

interface Job {
  readonly id: string;
  readonly state: string;
  readonly replayedAs?: string;
  readonly replay?: { readonly of: string; readonly epoch: number };
}

interface Letters {
  readonly data: readonly { readonly id: number; readonly jobId: string; readonly reason: string }[];
}

const WORK = 'work.text.standard';
let isolated: Isolated;
let suite: Suite;
let tenant: Tenant;
let amqp: ChannelModel;

beforeAll(async () => {
  isolated = await isolate();
  suite = await isolated.start({ workers: 0 });
  tenant = await createTenant(suite, { tenantId: 'operated', plan: 'demo' });
  amqp = await connect(isolated.environment['SLUICE_RABBITMQ_URL'] ?? '');
}, 120_000);
afterAll(async () => {
  await amqp.close();
  await closeClient();
  await isolated.close();
});

function job(id: string): Promise<Job> {
  return mustCall<Job>(suite.url, `/v1/jobs/${id}?wait=30`, { key: tenant.key });
}

/** Does to the next queued job what a worker does that gives it up. */
async function giveUp(): Promise<void> {
  const channel = await amqp.createConfirmChannel();
  let message = await channel.get(WORK);
  for (; !message; message = await channel.get(WORK)) await sleep(20);
  const { type, messageId } = message.properties as { type: string; messageId: string };
  const headers = { [HEADERS.reason]: 'inference_crashed', [HEADERS.source]: WORK, [HEADERS.attempt]: 5 };
  channel.publish(EXCHANGES.dead, message.fields.routingKey, message.content, { type, messageId, headers });
  await channel.waitForConfirms();
  channel.ack(message);
  await channel.close();
}

it('jobs that died are replayed by an operator, run once, and keep the books right', async () => {
  const body = { model: 'guesslang', input: 'def add(a, b):\n    return a + b\n' };
  const submitted: string[] = [];
  for (let count = 0; count < 3; count++) {
    const { id } = await mustCall<Job>(suite.url, '/v1/jobs', { method: 'POST', key: tenant.key, body });
    submitted.push(id);
    await giveUp();
  }
  for (const id of submitted) expect((await job(id)).state).toBe('failed');

  const admin = { key: suite.adminKey };
  const open = await mustCall<Letters>(suite.url, '/v1/admin/dead-letters?tenant=operated&status=open', admin);
  expect(open.data.map(({ jobId }) => jobId)).toEqual([...submitted].reverse());
  expect(open.data[0]).toMatchObject({ reason: 'inference_crashed', queue: QUEUES.dead, attempts: 5 });
  const replays = await mustCall<{ replayed: number }>(suite.url, '/v1/admin/dead-letters/replay', {
    ...admin,
    method: 'POST',
    body: { tenant: 'operated', note: 'workers are back' },
  });
  expect(replays.replayed).toBe(3);

  const workers = await isolated.start({ gateways: 0, collectors: 0 });
  for (const id of submitted) {
    const { state, replayedAs = '' } = await job(id);
    expect(state).toBe('failed');
    expect(await job(replayedAs)).toMatchObject({ state: 'succeeded', replay: { of: id, epoch: 1 } });
  }
  await workers.stop();

  const { rows } = await isolated.database.query<{ phase: number; count: string }>(
    'SELECT phase, count(*) FROM ledger GROUP BY phase ORDER BY phase',
  );
  expect(rows).toEqual([
    { phase: 1, count: '6' },
    { phase: 2, count: '6' },
  ]);
}, 120_000);
