/** What one part of a trace tells the next one by, in the words of W3C Trace Context: HTTP headers, AMQP headers, attributes of events. */
export interface TraceHeaders {
  /** `00-<trace id>-<span id>-<flags>`, valid. */
  readonly traceparent: string;
  /** What other tracing systems have added; at most 512 characters. */
  readonly tracestate?: string;
}

/** The parts of a `traceparent`. */
export interface TraceParent {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const MOST_CHARACTERS = 512;
/** Entries `key=value` separated by commas, all of printable ASCII. */
const TRACESTATE = /^[\x20-\x7e]+=[\x20-\x7e]+$/;
const SAMPLED = 1;

/**
 * Reads what came with a request or a message. Anybody may have written it: what is not valid is as if it were absent, for a trace is
 * never a reason to refuse work.
 */
export function readTraceHeaders(headers: Readonly<Record<string, unknown>>): TraceHeaders | undefined {
  const { traceparent } = headers;
  if (typeof traceparent !== 'string') return undefined;
  const parent = parseTraceparent(traceparent);
  if (!parent) return undefined;
  const { tracestate } = headers;
  const known = { traceparent: formatTraceparent(parent) };
  return isTracestate(tracestate) ? { ...known, tracestate } : known;
}

/** Undefined when it is not valid. Of a later version than 00 the parts that are known are read. */
export function parseTraceparent(text: string): TraceParent | undefined {
  if (text.length > MOST_CHARACTERS) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', rest] = TRACEPARENT.exec(text) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED };
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

function isTracestate(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MOST_CHARACTERS && TRACESTATE.test(value);
}
