// Submits three jobs over AMQP, prints the answers, and prints how the jobs end. See docs/asyncapi.yaml.
import { randomUUID } from 'node:crypto';
import { connect, type ConfirmChannel, type ConsumeMessage } from 'amqplib';
import { brokerUser, readSuite, registerProducer } from './suite.js';

const TEXTS = ['It will rain tomorrow.', 'Umbrellas are sold out.', 'print("hello, world")'];
const TIMEOUT_MS = 60_000;

const suite = readSuite();
const user = brokerUser(suite);
await registerProducer(suite, user);

const connection = await connect(suite.servers.SLUICE_RABBITMQ_URL);
const channel = await connection.createConfirmChannel();
channel.on('return', (message) => fail(`No queue took ${message.properties.messageId as string}.`));
const timer = setTimeout(() => fail('Not every job ended in time.'), TIMEOUT_MS);

/** Ids of accepted jobs that have not ended as far as is known here, and ends that came before their answer. */
const open = new Set<string>();
const ended = new Set<string>();
let unanswered = TEXTS.length;

// Bound before anything is submitted, so that no end is missed.
const replies = await consume(channel, (message) => {
  const { correlationId, type } = message.properties as { correlationId: string; type: string };
  const body = JSON.parse(message.content.toString()) as { id: string; state: string; code: string; detail: string };
  // A problem document (RFC 9457): its `code` is stable, `retryable` says whether to try again.
  if (type !== 'job.accepted.reply.v1') return fail(`${correlationId} was refused: ${body.code}. ${body.detail}`);
  console.log(`${correlationId} is job ${body.id}, ${body.state}`);
  unanswered -= 1;
  if (!ended.has(body.id)) open.add(body.id);
  finishWhenDone();
});
const events = await consume(channel, (message) => {
  const { data } = JSON.parse(message.content.toString()) as {
    data: { jobId: string; state: string; usage?: { inputTokens: number }; amountNanoUsd?: string };
  };
  // Jobs that others submit for the tenant are heard of as well, and an event may come twice.
  if (data.state === 'queued') return;
  ended.add(data.jobId);
  if (open.delete(data.jobId)) {
    console.log(`job ${data.jobId} has ${data.state}: ${data.usage?.inputTokens ?? 0} input tokens`);
  }
  finishWhenDone();
});
await channel.bindQueue(events, 'events', `job.*.${suite.demo.tenantId}`);

for (const [index, input] of TEXTS.entries()) {
  const job = { model: index < 2 ? 'use-lite-en' : 'guesslang', input, metadata: { example: 'typescript' } };
  // Kept with the order, invoice or mail that the job is for: sent again after a crash, it names the same job.
  const messageId = `example-${randomUUID()}`;
  channel.publish('ingest', 'job', Buffer.from(JSON.stringify(job)), {
    messageId,
    userId: user,
    replyTo: replies,
    correlationId: `text ${index + 1}`,
    type: 'job.submit.v1',
    contentType: 'application/json',
    persistent: true,
    mandatory: true,
  });
}
// Only then has the broker the submissions on disk.
await channel.waitForConfirms();

/** Consumes a queue of this program's own, which goes away with it. */
async function consume(from: ConfirmChannel, onMessage: (message: ConsumeMessage) => void): Promise<string> {
  const { queue } = await from.assertQueue('', { exclusive: true });
  await from.consume(queue, (message) => message && onMessage(message), { noAck: true });
  return queue;
}

function finishWhenDone(): void {
  if (unanswered > 0 || open.size > 0) return;
  clearTimeout(timer);
  void connection.close();
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
