import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Attributes, Span, SpanOptions } from '@sluice/telemetry';
import { createRequestTraces } from './request-traces.js';

/** Spans that began, and how each went on. */
let spans: { attributes: Attributes; ended: number; events: string[] }[];
let server: Server;
/** Which requests are answered, by their number. */
let answered: (request: number) => boolean;

beforeEach(async () => {
  spans = [];
  answered = () => true;
  const traces = createRequestTraces({ begin: (_name, _headers, options) => begun(options()) });
  let requests = 0;
  server = createServer((request, response) => {
    traces.begin(request, response);
    if (answered(requests++)) response.end('well');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function begun({ attributes = {} }: SpanOptions) {
  const noted = { attributes, ended: 0, events: [] as string[] };
  spans.push(noted);
  const span = {
    headers: { traceparent: 'own' },
    set: () => undefined,
    event: (name: string) => void noted.events.push(name),
    end: () => void (noted.ended += 1),
  };
  return { headers: span.headers, span: span as unknown as Span };
}

/** Sends requests in one go over a connection of its own. */
function send(count: number, path = '/v1/jobs') {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(count));
  return socket.resume();
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('the spans of requests', () => {
  it('end once each, also those of pipelined requests that were never answered', async () => {
    answered = (request) => request === 0;
    const socket = send(20);
    await until(() => spans.length === 20);
    await until(() => spans[0]?.ended === 1);
    socket.destroy();
    await until(() => spans.every(({ ended }) => ended > 0));
    expect(spans.map(({ ended }) => ended)).toEqual(Array.from({ length: 20 }, () => 1));
    expect(spans.filter(({ events }) => events.length > 0)).toHaveLength(19);
  });

  it('hold nothing of the path that was asked for', async () => {
    const socket = send(1, '/v1/nothing/my%20prompt?key=secret');
    await until(() => spans[0]?.ended === 1);
    expect(spans[0]?.attributes).toEqual({ 'http.request.method': 'GET', 'url.scheme': 'http' });
    socket.destroy();
  });
});
