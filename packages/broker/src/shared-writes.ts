import type { Writable } from 'node:stream';
import type { ChannelModel } from 'amqplib';

/**
 * Sends what one turn of the event loop writes to a connection in one system call.
 *
 * amqplib hands frames to the socket one by one, and an idle socket sends each at once: for messages of a few hundred
 * bytes that is a system call for each, and a packet for the broker to wake up for.
 */
export function shareWrites(model: ChannelModel): void {
  const socket = socketOf(model);
  if (!socket) return;
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = (...args: unknown[]): boolean => {
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(() => socket.uncork());
    }
    return write(...args);
  };
}

/** n.b. amqplib's types do not name it; without it nothing is shared and everything works. */
function socketOf(model: ChannelModel): Writable | undefined {
  return (model as { readonly connection?: { readonly stream?: Writable } }).connection?.stream;
}
