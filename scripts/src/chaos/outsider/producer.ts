import { setTimeout as sleep } from 'node:timers/promises';
import { CONTENT_TYPES, EXCHANGES, INGEST_TYPES } from '@sluice/contracts';
import { connect, type ChannelModel, type ConfirmChannel, type ConsumeMessage } from 'amqplib';
import { attemptOf, errorCode, type Attempt, type JobAnswer } from './attempt.js';
import type { Journal } from './journal.js';
import { sentNote, type Submission } from './submissions.js';

export interface ProducerOptions {
  /** Of RabbitMQ itself. */
  readonly amqpUrl: string;
  readonly journal: Journal;
}

/** Another service that submits over AMQP, and sends again under the same message id until it is told what became of it. */
export interface Producer {
  /** The job, if a reply told of it. */
  submit(submission: Submission): Promise<JobAnswer | undefined>;
  stop(): Promise<void>;
}

interface Session {
  readonly connection: ChannelModel;
  readonly channel: ConfirmChannel;
}

interface Waiting {
  readonly attempt: number;
  readonly told: (came: Attempt) => void;
}

const REPLIES = 'chaos.replies';
const PATIENCE_MS = 150_000;
/** For the confirm, and then for the reply: a gateway waits out trouble of its own for 30 s. */
const CONFIRM_TIMEOUT_MS = 5_000;
const REPLY_TIMEOUT_MS = 20_000;
const PAUSE_MS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;

export function createProducer({ amqpUrl, journal }: ProducerOptions): Producer {
  const userId = decodeURIComponent(new URL(amqpUrl).username);
  const waiting = new Map<string, Waiting>();
  let session: Promise<Session> | undefined;

  /** The session that works, or a new one. Rejects when the broker cannot be reached. */
  async function current(): Promise<Session> {
    session ??= open();
    const opening = session;
    return opening.catch((error: unknown) => {
      if (session === opening) session = undefined;
      throw error;
    });
  }

  async function open(): Promise<Session> {
    const connection = await connect(amqpUrl, { timeout: CONNECT_TIMEOUT_MS });
    const forget = (): void => void (session = undefined);
    connection.on('error', () => undefined).on('close', forget);
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => undefined).on('close', forget);
    // n.b. durable and shared: replies of before a loss of the connection are still told.
    await channel.assertQueue(REPLIES, { durable: true });
    await channel.consume(REPLIES, (message) => message && takeReply(channel, message));
    return { connection, channel };
  }

  function takeReply(channel: ConfirmChannel, message: ConsumeMessage): void {
    channel.ack(message);
    const { correlationId, type } = message.properties as { correlationId: string; type: string };
    const body = JSON.parse(message.content.toString()) as JobAnswer & {
      readonly status?: number;
      readonly code?: string;
    };
    const came = type === INGEST_TYPES.accepted ? attemptOf(202, body) : refusalOf(body);
    const { attempt = 0, told } = waiting.get(correlationId) ?? {};
    noteAnswer(correlationId, attempt, came);
    told?.(came);
  }

  function noteAnswer(request: string, attempt: number, { job: _job, ...came }: Attempt): void {
    journal.note({ kind: 'answered', request, attempt, ...came });
  }

  async function publish({ channel }: Session, { request, body, idempotencyKey }: Submission): Promise<void> {
    const properties = {
      ...{ userId, replyTo: REPLIES, correlationId: request, messageId: idempotencyKey ?? request },
      ...{ contentType: CONTENT_TYPES.json, type: INGEST_TYPES.submit, persistent: true },
    };
    // n.b. when the channel closes nobody may answer; the attempt has a deadline.
    await new Promise<void>((resolve, reject) => {
      const done = (error: unknown): void => (error instanceof Error ? reject(error) : resolve());
      channel.publish(EXCHANGES.ingest, 'job', Buffer.from(JSON.stringify(body)), properties, done);
    });
  }

  /** One attempt; it notes its own end only when no reply does. */
  async function attempt(submission: Submission, number: number): Promise<Attempt> {
    const { request } = submission;
    const reply = new Promise<Attempt>((told) => waiting.set(request, { attempt: number, told }));
    journal.note(sentNote(submission, number));
    try {
      await within(
        CONFIRM_TIMEOUT_MS,
        current().then((open) => publish(open, submission)),
        'NO_CONFIRM',
      );
      return await within(REPLY_TIMEOUT_MS, reply, 'NO_REPLY');
    } catch (error) {
      const came: Attempt = { outcome: 'unknown', code: errorCode(error) };
      noteAnswer(request, number, came);
      return came;
    }
  }

  return {
    async submit(submission) {
      const giveUpAtMs = performance.now() + PATIENCE_MS;
      try {
        for (let number = 1; ; number++) {
          const { outcome, job, status = 0 } = await attempt(submission, number);
          const isFinal = outcome === 'accepted' || (outcome === 'refused' && status < 500);
          if (isFinal || performance.now() > giveUpAtMs) return job;
          await sleep(PAUSE_MS);
        }
      } finally {
        waiting.delete(submission.request);
      }
    },
    async stop() {
      const open = await session?.catch(() => undefined);
      await open?.connection.close().catch(() => undefined);
    },
  };
}

/** n.b. a gateway tries a submission several times before it tells of trouble of its own, so any of these may have succeeded. */
function refusalOf(body: JobAnswer & { readonly status?: number }): Attempt {
  const { status = 500 } = body;
  return { ...attemptOf(status, body), ...(status >= 500 && { outcome: 'unknown' }) };
}

/** Rejects with `code` when it takes longer. */
async function within<T>(timeoutMs: number, work: Promise<T>, code: string): Promise<T> {
  const over = new AbortController();
  const late = sleep(timeoutMs, undefined, { signal: over.signal }).then((): never => {
    throw Object.assign(new Error(`nothing within ${timeoutMs} ms`), { code });
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
    late.catch(() => undefined);
    work.catch(() => undefined);
  }
}
