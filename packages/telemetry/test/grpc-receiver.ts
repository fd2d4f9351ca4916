import { once } from 'node:events';
import { createServer, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';

/** A call as it came. */
export interface GrpcCall {
  readonly path: string;
  readonly contentType: string;
  /** The message without the frame's head. */
  readonly message: Buffer;
}

export interface GrpcReceiver {
  readonly endpoint: string;
  readonly calls: readonly GrpcCall[];
  /** The status that calls end with from now on; 0 is success, undefined no answer at all. */
  status: number | undefined;
  close(): Promise<void>;
}

/** Bytes before a message: whether it is compressed, and its length. */
const FRAME_HEAD = 5;
const EMPTY_MESSAGE = Buffer.alloc(FRAME_HEAD);

/** A server of unary calls over gRPC on a free port of the loopback interface, without TLS. */
export async function startGrpcReceiver(): Promise<GrpcReceiver> {
  const calls: GrpcCall[] = [];
  const sessions = new Set<Http2Session>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream, headers) => void take(stream, headers).catch(() => undefined));
  const receiver: GrpcReceiver = {
    get endpoint() {
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    calls,
    status: 0,
    async close() {
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };

  async function take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const [path, contentType] = [headers[':path'], headers['content-type']].map(String) as [string, string];
    calls.push({ path, contentType, message: Buffer.concat(chunks).subarray(FRAME_HEAD) });
    const { status } = receiver;
    if (status === undefined) return;
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(status) }));
    stream.end(status === 0 ? EMPTY_MESSAGE : undefined);
  }

  await once(server.listen(0, '127.0.0.1'), 'listening');
  return receiver;
}
