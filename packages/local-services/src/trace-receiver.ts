import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as OTLP tells it in JSON, with what is nested there made flat. */
export interface ReceivedSpan {
  /** `service.name` of the program that it comes from. */
  readonly service: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first span of a trace. */
  readonly parentSpanId: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Span ids. */
  readonly links: readonly string[];
  /** Names. */
  readonly events: readonly string[];
  readonly failed: boolean;
  /** Unix milliseconds. */
  readonly startMs: number;
  readonly endMs: number;
}

export interface TraceReceiver {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`, with `http/json` as the protocol. */
  readonly endpoint: string;
  /** What it was sent so far. */
  readonly spans: readonly ReceivedSpan[];
  /** Paths that something else than JSON was posted to, with its media type. */
  readonly others: readonly string[];
  /** Resolves when the spans so far fulfil a condition, which is looked at whenever some arrive. */
  until(isEnough: (spans: readonly ReceivedSpan[]) => boolean): Promise<void>;
  close(): Promise<void>;
}

/** A collector of traces on a free port of the loopback interface, which keeps all it is sent. For tests and benchmarks. */
export async function startTraceReceiver(): Promise<TraceReceiver> {
  const spans: ReceivedSpan[] = [];
  const others: string[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const type = request.headers['content-type'] ?? '';
      if (type.includes('json')) spans.push(...spansOf(JSON.parse(body.toString()) as TracesRequest));
      else others.push(`${request.url} ${type}`);
      response.writeHead(200, { 'content-type': type }).end(type.includes('json') ? '{}' : '');
      for (const look of waiting) look();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    others,
    until: (isEnough) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!isEnough(spans)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** What of a request of OTLP is read here. */
interface TracesRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly Attribute[];
  readonly links?: readonly { readonly spanId: string }[];
  readonly events?: readonly { readonly name: string }[];
  readonly status?: { readonly code?: number };
}

const ERROR = 2;

function spansOf({ resourceSpans }: TracesRequest): readonly ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(attributesOf(resource.attributes)['service.name']);
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => received(service, span)));
  });
}

function received(service: string, span: OtlpSpan): ReceivedSpan {
  const { name, kind, traceId, spanId, parentSpanId = '', attributes = [], links = [], events = [], status } = span;
  return {
    ...{ service, name, kind, traceId, spanId, parentSpanId },
    attributes: attributesOf(attributes),
    links: links.map((link) => link.spanId),
    events: events.map((event) => event.name),
    failed: status?.code === ERROR,
    startMs: Number(span.startTimeUnixNano) / 1e6,
    endMs: Number(span.endTimeUnixNano) / 1e6,
  };
}

function attributesOf(attributes: readonly Attribute[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
