import type { Broker } from './broker.js';
import { ChannelError } from './broker-error.js';
import { IDS } from './amqplib.js';
import type { ChannelOwner, ChannelState } from './channel-state.js';
import { consumingMethods } from './consuming-methods.js';
import type { ClientMethod, Content, Frame, MethodName } from './frames.js';
import { publishingMethods } from './publishing-methods.js';
import { topologyMethods } from './topology-methods.js';

/** One channel of a connection, at the broker. */
export interface ServerChannel {
  receive(frame: Frame): void;
  /** The connection has gone: the broker notices in a moment what the channel held. */
  lose(): void;
}

export interface ServerChannelOptions {
  readonly broker: Broker;
  readonly owner: ChannelOwner;
  readonly send: (method: MethodName, fields: object, content?: Content) => void;
  /** Both sides know that it is closed: its number is free. */
  readonly onClosed: () => void;
}

type Handler = (channel: ChannelState, fields: object, content?: Content) => void;

// Each handler declares the fields of its own method; a frame carries those of the method that it names.
const handlers = { ...topologyMethods, ...consumingMethods, ...publishingMethods } as unknown as Partial<
  Record<MethodName, Handler>
>;

export function createServerChannel({ broker, owner, send, onClosed }: ServerChannelOptions): ServerChannel {
  const channel: ChannelState = {
    ...{ broker, owner, send },
    confirms: undefined,
    prefetch: 0,
    deliveries: 0,
    unacked: new Map(),
    consumers: new Map(),
    cancelled: [],
    closed: false,
  };

  /** Whoever it consumed from takes back what it held, each as soon as it notices. */
  function close(): void {
    if (channel.closed) return;
    channel.closed = true;
    for (const { queue, consumer } of [...channel.consumers.values(), ...channel.cancelled])
      broker.later(broker.random.between(0, 5), `rabbitmq: ${queue.name} takes back`, () => queue.lose(consumer));
  }

  function handle({ method, fields, content }: Frame): void {
    const handler = handlers[method];
    if (handler === undefined) throw new RangeError(`The simulated RabbitMQ does not know ${method}.`);
    try {
      handler(channel, fields, content);
    } catch (error) {
      if (!(error instanceof ChannelError)) throw error;
      close();
      send('ChannelClose', { replyCode: error.code, replyText: error.message, ...numbersOf(method as ClientMethod) });
    }
  }

  return {
    receive(frame) {
      if (frame.method === 'ChannelClose') {
        close();
        send('ChannelCloseOk', {});
        onClosed();
      } else if (frame.method === 'ChannelCloseOk') onClosed();
      else if (!channel.closed) handle(frame); // else sent before the client knew
    },
    lose: close,
  };
}

function numbersOf(method: ClientMethod): { classId: number; methodId: number } {
  const id = IDS[method];
  return { classId: id >>> 16, methodId: id & 0xffff };
}
