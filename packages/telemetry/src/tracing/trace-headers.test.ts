import { describe, expect, it } from '@jest/globals';
import { parseTraceparent, readTraceHeaders } from './trace-headers.js';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';
const VALID = `00-${TRACE_ID}-${SPAN_ID}-01`;

describe('readTraceHeaders', () => {
  it('reads a trace, with what other systems added', () => {
    const tracestate = 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7';
    expect(readTraceHeaders({ traceparent: VALID, tracestate })).toEqual({ traceparent: VALID, tracestate });
  });

  it('reads what it knows of a later version, and writes its own', () => {
    expect(readTraceHeaders({ traceparent: `cc-${TRACE_ID}-${SPAN_ID}-ff-what-comes-later` })).toEqual({
      traceparent: VALID,
    });
  });

  it.each([
    ['nothing', undefined],
    ['no text', 42],
    ['an empty text', ''],
    ['two headers that Node has joined', `${VALID}, ${VALID}`],
    ['capitals', VALID.toUpperCase()],
    ['no trace', `00-${'0'.repeat(32)}-${SPAN_ID}-01`],
    ['no span', `00-${TRACE_ID}-${'0'.repeat(16)}-01`],
    ['the version that is none', `ff-${TRACE_ID}-${SPAN_ID}-01`],
    ['more than version 00 has', `${VALID}-more`],
    ['a huge later version', `cc-${TRACE_ID}-${SPAN_ID}-01-${'x'.repeat(10_000)}`],
    ['a line break', `${VALID}\n`],
  ])('ignores %s', (_what, traceparent) => {
    expect(readTraceHeaders({ traceparent })).toBeUndefined();
  });

  it.each([
    ['a huge one', `a=${'x'.repeat(600)}`],
    ['one without a value', 'abc'],
    ['one with a line break', 'a=b\r\nset-cookie: c=d'],
    ['one that is no text', ['a=b']],
  ])('keeps the trace and ignores %s as tracestate', (_what, tracestate) => {
    expect(readTraceHeaders({ traceparent: VALID, tracestate })).toEqual({ traceparent: VALID });
  });

  it('tells whether the sender recorded it by one bit of the flags', () => {
    const flags = { '00': false, '01': true, '02': false, '03': true, ff: true };
    for (const [flag, sampled] of Object.entries(flags)) {
      expect(parseTraceparent(`00-${TRACE_ID}-${SPAN_ID}-${flag}`)).toEqual({
        traceId: TRACE_ID,
        spanId: SPAN_ID,
        sampled,
      });
    }
  });
});
