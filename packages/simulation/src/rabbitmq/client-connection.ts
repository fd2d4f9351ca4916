import { Duplex } from 'node:stream';
import { AmqplibConnection, IDS, methodName, type DecodedFrame, type FrameReceiver } from './amqplib.js';
import { plain, type Frame, type Properties, type Table } from './frames.js';

const CHANNEL_ERROR = 504;
const HIGHEST_CHANNEL = 2047;

export interface ClientConnectionOptions {
  readonly send: (frame: Frame) => void;
  /** The client's end of the socket is closed. */
  readonly onClosed: () => void;
}

/**
 * amqplib's connection after its handshake, on a wire of decoded frames instead of a socket of bytes. Everything above
 * frames is amqplib's code; what is overridden here is encoding, buffers and heartbeats.
 */
export class ClientConnection extends AmqplibConnection {
  readonly #send: (frame: Frame) => void;

  constructor({ send, onClosed }: ClientConnectionOptions) {
    super(inertSocket());
    this.#send = send;
    this.accept = (frame) => this.#dispatch(frame);
    this.on('frameError', (error: Error) => this.onSocketError(error));
    this.on('close', onClosed);
  }

  /** Takes a frame off the wire, as amqplib's loop does: what a listener throws is an error of the connection. */
  receive({ channel, method, fields, content }: Frame): void {
    try {
      this.accept({ channel, id: IDS[method], fields });
      if (content === undefined) return;
      const { properties, body } = content;
      this.accept({ channel, id: IDS.BasicProperties, fields: properties, size: body.length });
      if (body.length > 0) this.accept({ channel, content: body });
    } catch (error) {
      this.emit('frameError', error);
    }
  }

  /** No heartbeat of the broker has come for too long. */
  missHeartbeats(): void {
    const error = new Error('Heartbeat timeout');
    this.emit('error', error);
    this.toClosed('Heartbeat timeout', error);
  }

  #dispatch(frame: DecodedFrame): void {
    const receiver = this.channels[frame.channel];
    if (receiver) return receiver.channel.accept(frame);
    const reason = `Frame on unknown channel ${frame.channel}`;
    this.closeWithError(reason, CHANNEL_ERROR, new Error(reason));
  }

  override sendMethod(channel: number, id: number, fields: object): boolean {
    this.#send({ channel, method: methodName(id), fields });
    return true;
  }

  /** amqplib's signature; `properties` holds method fields as well, which the codec would pass over. */
  sendMessage(channel: number, ...[id, fields, , properties, body]: [number, object, number, Table, unknown]): boolean {
    if (!Buffer.isBuffer(body)) throw new TypeError('content is not a buffer');
    this.#send({ channel, method: methodName(id), fields, content: { properties: encoded(properties), body } });
    return true;
  }

  freshChannel(channel: FrameReceiver): number {
    const number = this.freeChannels.nextClearBit(1);
    if (number < 0 || number > HIGHEST_CHANNEL) throw new Error('No channels left to allocate');
    this.freeChannels.set(number);
    this.channels[number] = { channel, buffer: undefined };
    return number;
  }

  releaseChannel(number: number): void {
    this.freeChannels.clear(number);
    this.channels[number] = null;
  }
}

const SHORT_TEXTS = [
  'contentType',
  'contentEncoding',
  'correlationId',
  'replyTo',
  'expiration',
  'messageId',
  'type',
  'userId',
  'appId',
] as const;

/** The properties as they would arrive; throws TypeError, as the codec does, for a text of more than 255 bytes. */
function encoded(options: Table): Properties {
  const properties: Record<string, unknown> = {
    headers: plain(options['headers'] as Table),
    deliveryMode: options['deliveryMode'],
    priority: options['priority'],
    timestamp: options['timestamp'],
  };
  for (const name of SHORT_TEXTS) {
    const value = options[name];
    if (value !== undefined && (typeof value !== 'string' || Buffer.byteLength(value) > 255))
      throw new TypeError(`Field '${name}' is the wrong type; must be a string (up to 255 chars)`);
    properties[name] = value;
  }
  return properties;
}

/** Nothing is ever read from it or written to it; amqplib only ends it. */
function inertSocket(): Duplex {
  return new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
}
