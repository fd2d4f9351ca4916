import type { IncomingMessage } from 'node:http';
import { ServiceError } from '@sluice/contracts';

const MAX_DISCARDED_BYTES = 67_108_864;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads a JSON body of at most `maxBytes`.
 *
 * @throws ServiceError `unsupported_media_type`, `payload_too_large` or `invalid_json`.
 */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  try {
    checkHeaders(request, maxBytes);
  } catch (error) {
    discard(request);
    throw error;
  }
  return parseJsonBody(await readBytes(request, maxBytes), maxBytes);
}

/**
 * A JSON body that is there as a whole.
 *
 * @throws ServiceError `payload_too_large` or `invalid_json`.
 */
export function parseJsonBody(bytes: Buffer, maxBytes: number): unknown {
  if (bytes.length > maxBytes) throw tooLarge(maxBytes);
  if (bytes.length === 0) throw new ServiceError('invalid_json', 'The body is empty.', at('must not be empty'));
  return parseJson(decode(bytes));
}

function checkHeaders(request: IncomingMessage, maxBytes: number): void {
  const type = request.headers['content-type'];
  if (type === undefined || !/^application\/json *(;|$)/i.test(type)) {
    throw new ServiceError('unsupported_media_type', 'Send Content-Type: application/json.', {
      fields: [{ field: 'Content-Type', reason: 'must be application/json' }],
    });
  }
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new ServiceError('unsupported_media_type', 'Compressed bodies are not accepted.', {
      fields: [{ field: 'Content-Encoding', reason: 'must be absent' }],
    });
  }
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
}

function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) {
        chunks.length = 0;
        request.removeAllListeners('data');
        discard(request);
        reject(tooLarge(maxBytes));
      } else {
        chunks.push(chunk);
      }
    });
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    request.once('error', reject);
    request.once('aborted', () => reject(new ServiceError('request_timeout', 'The body did not arrive whole.')));
  });
}

/**
 * Reads and forgets the rest of a body that is refused, up to a bound. n.b. with bytes unread the kernel would reset
 * the connection, and the client would lose the answer that tells it why.
 */
function discard(request: IncomingMessage): void {
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_DISCARDED_BYTES) request.destroy();
  });
}

function decode(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new ServiceError('invalid_json', 'The body is not valid UTF-8.', { cause, ...at('must be UTF-8') });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // n.b. V8's message quotes the body; only the position is passed on.
    const position = /position (\d+)/.exec((cause as Error).message)?.[1];
    const where = position === undefined ? '' : ` (at character ${position})`;
    throw new ServiceError('invalid_json', `The body is not valid JSON${where}.`, { cause, ...at('must be JSON') });
  }
}

function tooLarge(maxBytes: number): ServiceError {
  return new ServiceError('payload_too_large', `The body is larger than ${maxBytes} bytes.`, {
    ...at(`must be at most ${maxBytes} bytes`),
    extensions: { maxBytes },
  });
}

function at(reason: string) {
  return { fields: [{ field: 'body', reason }] };
}
