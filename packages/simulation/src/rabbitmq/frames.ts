/** Names and values of a table: headers, or arguments of a declaration. */
export type Table = Readonly<Record<string, unknown>>;

/** The properties of a message, as amqplib decodes them; absent ones are undefined or not there. */
export interface Properties {
  readonly headers?: Table;
  readonly deliveryMode?: number;
  readonly expiration?: string;
  readonly userId?: string;
  readonly [name: string]: unknown;
}

/** What goes with a publish, a delivery or a return. */
export interface Content {
  readonly properties: Properties;
  readonly body: Buffer;
}

/** What amqplib asks a broker for, by method. */
export interface ClientMethods {
  ConnectionClose: object;
  ConnectionCloseOk: object;
  ChannelOpen: object;
  ChannelClose: object;
  ChannelCloseOk: object;
  ConfirmSelect: object;
  ExchangeDeclare: {
    readonly exchange: string;
    readonly type: string;
    readonly passive: boolean;
    readonly durable: boolean;
    readonly autoDelete: boolean;
    readonly internal: boolean;
    readonly arguments: Table;
  };
  ExchangeBind: { readonly source: string; readonly destination: string; readonly routingKey: string };
  ExchangeDelete: { readonly exchange: string; readonly ifUnused: boolean };
  QueueDeclare: {
    readonly queue: string;
    readonly passive: boolean;
    readonly durable: boolean;
    readonly exclusive: boolean;
    readonly autoDelete: boolean;
    readonly arguments: Table;
  };
  QueueBind: { readonly queue: string; readonly exchange: string; readonly routingKey: string };
  QueueUnbind: { readonly queue: string; readonly exchange: string; readonly routingKey: string };
  QueuePurge: { readonly queue: string };
  QueueDelete: { readonly queue: string; readonly ifUnused: boolean; readonly ifEmpty: boolean };
  BasicQos: { readonly prefetchCount: number; readonly global: boolean };
  BasicConsume: {
    readonly queue: string;
    readonly consumerTag: string;
    readonly noAck: boolean;
    readonly exclusive: boolean;
    readonly arguments: Table;
  };
  BasicCancel: { readonly consumerTag: string };
  BasicPublish: { readonly exchange: string; readonly routingKey: string; readonly mandatory: boolean };
  BasicAck: { readonly deliveryTag: number; readonly multiple: boolean };
  BasicNack: { readonly deliveryTag: number; readonly multiple: boolean; readonly requeue: boolean };
  BasicReject: { readonly deliveryTag: number; readonly requeue: boolean };
}

type Answer =
  | 'ConnectionBlocked'
  | 'ConnectionUnblocked'
  | 'ChannelOpenOk'
  | 'ConfirmSelectOk'
  | 'ExchangeDeclareOk'
  | 'ExchangeBindOk'
  | 'ExchangeDeleteOk'
  | 'QueueDeclareOk'
  | 'QueueBindOk'
  | 'QueueUnbindOk'
  | 'QueuePurgeOk'
  | 'QueueDeleteOk'
  | 'BasicQosOk'
  | 'BasicConsumeOk'
  | 'BasicCancelOk'
  | 'BasicDeliver'
  | 'BasicReturn';

export type ClientMethod = keyof ClientMethods;
export type MethodName = ClientMethod | Answer;

/** A method on its way, with the message that follows it. Numbers of channels: 0 is the connection itself. */
export interface Frame {
  readonly channel: number;
  readonly method: MethodName;
  readonly fields: object;
  readonly content?: Content;
}

/** A plain copy of a table, inherited entries included, without those that are undefined: what the codec makes of it. */
export function plain(table: Table | undefined): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  // n.b. amqplib passes what a caller gave as the prototype of its own tables, so inherited entries count.
  for (const name in table) {
    const value = table[name];
    if (value !== undefined) copy[name] = value;
  }
  return copy;
}
