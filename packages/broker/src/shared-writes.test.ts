import { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import type { ChannelModel } from 'amqplib';
import { shareWrites } from './shared-writes.js';

/** A socket that notes what each system call would have sent. */
function recordingSocket() {
  const calls: string[][] = [];
  const socket = new Writable({
    write(chunk: Buffer, _encoding, done) {
      calls.push([chunk.toString()]);
      done();
    },
    writev(chunks: { readonly chunk: Buffer }[], done) {
      calls.push(chunks.map(({ chunk }) => chunk.toString()));
      done();
    },
  });
  return { socket, calls };
}

const modelOn = (socket: Writable): ChannelModel => ({ connection: { stream: socket } }) as unknown as ChannelModel;
const turnOver = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('shared writes', () => {
  it('send the frames of one turn together, in their order', async () => {
    const { socket, calls } = recordingSocket();
    shareWrites(modelOn(socket));
    for (const frame of ['one', 'two', 'three']) socket.write(frame);
    await turnOver();
    expect(calls).toEqual([['one', 'two', 'three']]);
  });

  it('send the frames of the next turn by themselves', async () => {
    const { socket, calls } = recordingSocket();
    shareWrites(modelOn(socket));
    socket.write('one');
    await turnOver();
    socket.write('two');
    await turnOver();
    expect(calls.flat()).toEqual(['one', 'two']);
    expect(calls).toHaveLength(2);
  });

  it('lose nothing when the socket is ended in the same turn', async () => {
    const { socket, calls } = recordingSocket();
    shareWrites(modelOn(socket));
    socket.write('one');
    socket.end('two');
    await turnOver();
    expect(calls.flat()).toEqual(['one', 'two']);
  });

  it('leave a connection alone that shows no socket', () => {
    expect(() => shareWrites({} as ChannelModel)).not.toThrow();
  });
});
