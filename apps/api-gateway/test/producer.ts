import { EventEmitter, once } from 'node:events';
import { CONTENT_TYPES, EXCHANGES } from '@sluice/contracts';
import { connect, type Options } from 'amqplib';

export interface Reply {
  readonly type: string;
  readonly contentType: string;
  readonly correlationId: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Of a message; undefined leaves one out. */
export type Properties = { readonly [Name in keyof Options.Publish]?: Options.Publish[Name] | undefined };

export interface Producer {
  /** User of the broker that its messages name. */
  readonly userId: string;
  /** Where answers come. */
  readonly replyTo: string;
  /** Sends a submission with these properties instead of the usual ones; resolves when the broker has confirmed it. */
  send(content: unknown, properties: Properties): Promise<void>;
  /** The first answer with this correlation id. */
  reply(correlationId: string): Promise<Reply>;
  /** Every answer with this correlation id so far. */
  replies(correlationId: string): readonly Reply[];
  /** `send`, and its answer. */
  ask(content: unknown, properties: Properties): Promise<Reply>;
  close(): Promise<void>;
}

/** A service that submits jobs over AMQP, with a queue of its own for the answers. */
export async function createProducer(rabbitmqUrl: string): Promise<Producer> {
  const userId = decodeURIComponent(new URL(rabbitmqUrl).username) || 'guest';
  const connection = await connect(rabbitmqUrl);
  const channel = await connection.createConfirmChannel();
  const { queue: replyTo } = await channel.assertQueue('', { exclusive: true });
  const received: Reply[] = [];
  const news = new EventEmitter().setMaxListeners(0);
  await channel.consume(
    replyTo,
    (message) => {
      if (!message) return;
      const { type, contentType, correlationId } = message.properties as Omit<Reply, 'body'>;
      const body = JSON.parse(message.content.toString()) as Reply['body'];
      received.push({ type, contentType, correlationId, body });
      news.emit('reply');
    },
    { noAck: true },
  );

  const replies = (id: string): Reply[] => received.filter(({ correlationId }) => correlationId === id);

  async function send(content: unknown, properties: Properties): Promise<void> {
    const usual = { userId, replyTo, contentType: CONTENT_TYPES.json, mandatory: true };
    const body = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    await new Promise<void>((resolve, reject) => {
      const done = (error: unknown): void => (error instanceof Error ? reject(error) : resolve());
      channel.publish(EXCHANGES.ingest, 'job', body, { ...usual, ...properties } as Options.Publish, done);
    });
  }

  async function reply(id: string): Promise<Reply> {
    for (;;) {
      const [first] = replies(id);
      if (first) return first;
      await once(news, 'reply');
    }
  }

  return {
    userId,
    replyTo,
    send,
    reply,
    replies,
    async ask(content, properties) {
      await send(content, properties);
      return reply(properties.correlationId ?? properties.messageId ?? '');
    },
    close: () => connection.close(),
  };
}
