import { connect, type ConsumeMessage } from 'amqplib';
import { EXCHANGES, MESSAGE_TYPES, QUEUES, routingKey, type AcceptedMessage } from '@sluice/contracts';

/** The pool that the benchmark's jobs belong to, as in the repository's own models.yaml. */
const POOL = 'text';

/** What stands around a worker: whoever publishes jobs, and whoever takes the facts. */
export interface BrokerEnds {
  /** Publishes a job to its work queue; resolves when the broker has confirmed it. */
  submit(message: AcceptedMessage): Promise<void>;
  /** Told of every terminal fact, at once; one listener at a time. */
  onCompleted(listener: ((jobId: string, body: Buffer) => void) | undefined): void;
  close(): Promise<void>;
}

/** Connects to a broker on which a worker has declared the queues. */
export async function openBrokerEnds(url: string): Promise<BrokerEnds> {
  // n.b. without it a message longer than one write waits for the acknowledgement of its beginning, up to 40 ms.
  const connection = await connect(url, { noDelay: true });
  const publishing = await connection.createConfirmChannel();
  const consuming = await connection.createChannel();
  let listener: ((jobId: string, body: Buffer) => void) | undefined;
  // n.b. without acknowledgements, which a benchmark that is about the worker should not pay for.
  await consuming.consume(QUEUES.results, (message) => notify(message), { noAck: true });

  function notify(message: ConsumeMessage | null): void {
    if (!message) throw new Error('the queue of results is gone');
    const { type, messageId } = message.properties as { readonly type: string; readonly messageId: string };
    if (type === MESSAGE_TYPES.completed) listener?.(messageId, message.content);
  }

  return {
    submit: (message) =>
      new Promise((resolve, reject) => {
        const body = Buffer.from(JSON.stringify(message));
        const properties = { persistent: true, type: MESSAGE_TYPES.accepted, messageId: message.jobId };
        publishing.publish(EXCHANGES.jobs, routingKey(POOL, message.class), body, properties, (error: unknown) =>
          error ? reject(error instanceof Error ? error : new Error(JSON.stringify(error))) : resolve(),
        );
      }),
    onCompleted(next) {
      listener = next;
    },
    close: () => connection.close(),
  };
}
