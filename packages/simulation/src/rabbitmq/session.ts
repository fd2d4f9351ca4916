import type { Broker } from './broker.js';
import type { ChannelOwner } from './channel-state.js';
import type { Frame } from './frames.js';
import { createServerChannel, type ServerChannel } from './server-channel.js';
import type { Wire } from './wire.js';

const CONNECTION_FORCED = 320;

export interface SessionOptions {
  readonly broker: Broker;
  readonly wire: Wire;
  readonly user: string;
  /** Puts a frame on the wire. */
  readonly send: (frame: Frame) => void;
  /** It has ended, for whatever reason. */
  readonly onEnded: () => void;
}

/** One connection, at the broker. */
export interface Session extends ChannelOwner {
  receive(frame: Frame): void;
  /** The client has gone: channels end, and queues that are exclusive to the connection a moment later. */
  end(): void;
  /** The broker is stopped in order, and says so. */
  closeForced(): void;
  /** The broker is short of memory or disk, or no longer. */
  setAlarm(on: boolean): void;
}

export function createSession({ broker, wire, user, send, onEnded }: SessionOptions): Session {
  const channels = new Map<number, ServerChannel>();
  /** What a blocked connection has sent stays unread. */
  let unread: Frame[] = [];
  let publishes = false;
  let alarm = false;
  let ended = false;

  /** Only connections that publish are blocked; one that has not before, after its first. */
  const isBlocked = (): boolean => alarm && publishes;

  function end(): void {
    if (ended) return;
    ended = true;
    for (const channel of channels.values()) channel.lose();
    for (const queue of broker.queues.values())
      if (queue.owner === session)
        broker.later(broker.random.between(0, 20), `rabbitmq: ${queue.name} ends`, () => broker.deleteQueue(queue));
    onEnded();
  }

  function read(frame: Frame): void {
    if (frame.channel === 0) readOwn(frame);
    else if (frame.method === 'ChannelOpen') open(frame.channel);
    else channels.get(frame.channel)?.receive(frame);
    if (frame.method !== 'BasicPublish' || publishes) return;
    publishes = true;
    if (alarm) tell();
  }

  function readOwn({ method }: Frame): void {
    if (method !== 'ConnectionClose') return;
    end();
    send({ channel: 0, method: 'ConnectionCloseOk', fields: {} });
    wire.closeByServer();
  }

  function open(number: number): void {
    const channel = createServerChannel({
      broker,
      owner: session,
      send: (method, fields, content) =>
        send({ channel: number, method, fields, ...(content !== undefined && { content }) }),
      onClosed: () => channels.delete(number),
    });
    channels.set(number, channel);
    send({ channel: number, method: 'ChannelOpenOk', fields: {} });
  }

  function tell(): void {
    if (alarm) send({ channel: 0, method: 'ConnectionBlocked', fields: { reason: 'low on memory' } });
    else send({ channel: 0, method: 'ConnectionUnblocked', fields: {} });
  }

  const session: Session = {
    user,
    receive(frame) {
      if (ended) return;
      if (isBlocked()) unread.push(frame);
      else read(frame);
    },
    end,
    closeForced() {
      const replyText = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
      const fields = { replyCode: CONNECTION_FORCED, replyText, classId: 0, methodId: 0 };
      send({ channel: 0, method: 'ConnectionClose', fields });
      wire.closeByServer();
    },
    setAlarm(on) {
      if (alarm === on) return;
      alarm = on;
      if (!publishes || ended) return;
      tell();
      const frames = unread;
      unread = [];
      for (const frame of frames) session.receive(frame);
    },
  };
  return session;
}
