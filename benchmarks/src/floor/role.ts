import { connect, type ChannelModel, type ConfirmChannel } from 'amqplib';

/** The servers, as `SLUICE_…_URL` name them in the environment of a role. */
export interface FloorServers {
  readonly postgresUrl: string;
  readonly redisUrl: string;
  readonly rabbitmqUrl: string;
}

/**
 * Runs one role of the floor as this process: starts it, tells the parent, and ends when the parent is gone. A role that
 * loses a server ends with an error; the floor recovers from nothing.
 */
export async function runRole(start: (servers: FloorServers) => Promise<{ readonly port?: number }>): Promise<void> {
  process.once('disconnect', () => process.exit(0));
  const ready = await start({
    postgresUrl: required('SLUICE_POSTGRES_URL'),
    redisUrl: required('SLUICE_REDIS_URL'),
    rabbitmqUrl: required('SLUICE_RABBITMQ_URL'),
  });
  process.send?.({ type: 'ready', ...ready });
}

function required(variable: string): string {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set`);
  return value;
}

export async function connectRabbitMq({ rabbitmqUrl }: FloorServers): Promise<ChannelModel> {
  return connect(rabbitmqUrl);
}

/** A function that publishes a persistent JSON message to a queue and resolves when the broker has confirmed it. */
export function confirmedSender(channel: ConfirmChannel): (queue: string, message: unknown) => Promise<void> {
  return (queue, message) =>
    new Promise((resolve, reject) => {
      const body = Buffer.from(JSON.stringify(message));
      const options = { persistent: true, contentType: 'application/json' };
      channel.sendToQueue(queue, body, options, (error: unknown) =>
        error ? reject(error instanceof Error ? error : new Error(JSON.stringify(error))) : resolve(),
      );
    });
}
