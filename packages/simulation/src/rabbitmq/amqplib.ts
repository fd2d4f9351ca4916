import { createRequire } from 'node:module';
import type { EventEmitter } from 'node:events';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { ChannelModel as PublicChannelModel } from 'amqplib';
import type { MethodName } from './frames.js';

/**
 * The parts of amqplib that lie between its public API and its sockets. The simulation runs amqplib's own channels and
 * connection states, so that what throws, what rejects and which event comes first is amqplib's doing and not ours.
 * n.b. these are no public exports: the version is pinned, and the conformance test runs the same calls through the
 * whole of amqplib.
 */

/** One frame as amqplib has decoded it; a message comes as three: method, properties, content. */
export interface DecodedFrame {
  readonly channel: number;
  readonly id?: number;
  readonly fields?: object;
  readonly size?: number;
  readonly content?: Buffer;
}

/** A channel as its connection sees it. */
export interface FrameReceiver {
  accept(frame: DecodedFrame): void;
}

/** amqplib's `Connection`, as far as it is used or overridden here. */
export interface AmqplibConnection extends EventEmitter {
  accept: (frame: DecodedFrame) => void;
  channels: ({ readonly channel: FrameReceiver; readonly buffer: unknown } | null)[];
  readonly freeChannels: { nextClearBit(from: number): number; set(bit: number): void; clear(bit: number): void };
  sendMethod(channel: number, id: number, fields: object): boolean;
  onSocketError(error: Error): void;
  toClosed(stack: string, error?: Error): void;
  closeWithError(reason: string, code: number, error: Error): void;
}

const require = createRequire(import.meta.url);
const folder = join(dirname(require.resolve('amqplib')), 'lib');
const load = (file: string): unknown => require(join(folder, file));

export const { Connection: AmqplibConnection } = load('connection.js') as {
  readonly Connection: new (socket: Duplex) => AmqplibConnection;
};

export const { ChannelModel } = load('channel_model.js') as {
  readonly ChannelModel: new (connection: AmqplibConnection) => PublicChannelModel;
};

/** The protocol's numbers of its methods (class and method), and of the properties frame. */
export const IDS = load('defs.js') as Readonly<Record<MethodName | 'BasicProperties', number>>;

const names = new Map<number, MethodName>(
  Object.entries(IDS as Readonly<Record<string, unknown>>)
    .filter((entry): entry is [MethodName, number] => /^[A-Z]/.test(entry[0]) && typeof entry[1] === 'number')
    .map(([name, id]) => [id, name]),
);

/** The method that a number stands for; throws RangeError when there is none. */
export function methodName(id: number): MethodName {
  const name = names.get(id);
  if (name === undefined) throw new RangeError(`${id} is no method of AMQP.`);
  return name;
}
