import { describe, expect, it } from '@jest/globals';
import { noTracer, type Span, type SpanOptions, type TraceHeaders, type Tracer } from '@sluice/telemetry';
import { createCallerTraces } from './caller-traces.js';

const SAMPLED = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate: 'a=b' };
const UNSAMPLED = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00', tracestate: 'a=b' };
const OWN = { traceparent: '00-11111111111111111111111111111111-2222222222222222-01' };

/** A tracer that records everything or nothing, and notes what it was asked and what spans were linked to. */
function tracerThat({ samples }: { readonly samples: boolean }) {
  const parents: (TraceHeaders | undefined)[] = [];
  const links: TraceHeaders[] = [];
  const span: Pick<Span, 'headers' | 'link'> = { headers: OWN, link: (to) => void links.push(to) };
  const tracer: Tracer = {
    records: true,
    begin(_name, came) {
      parents.push(came);
      return samples ? (span as Span) : undefined;
    },
  };
  return { tracer, parents, links };
}

const options = (): SpanOptions => ({});

describe('callers that are not trusted', () => {
  it('neither decide what is recorded nor whose trace it is, but can be found', () => {
    const { tracer, parents, links } = tracerThat({ samples: true });
    const traces = createCallerTraces({ tracer, callers: 'link' });
    expect(traces.begin('work', SAMPLED, options)?.headers).toEqual(OWN);
    expect(traces.begin('work', { traceparent: 'nonsense' }, options)?.headers).toEqual(OWN);
    expect(parents).toEqual([undefined, undefined]);
    expect(links).toEqual([SAMPLED]);
  });

  it('have nothing passed on of what is not recorded', () => {
    const { tracer } = tracerThat({ samples: false });
    expect(createCallerTraces({ tracer, callers: 'link' }).begin('work', SAMPLED, options)).toBeUndefined();
    expect(createCallerTraces({ tracer: noTracer, callers: 'link' }).begin('work', SAMPLED, options)).toBeUndefined();
  });
});

describe('callers that are followed', () => {
  it('are the parents of what is recorded', () => {
    const { tracer, parents, links } = tracerThat({ samples: true });
    const traces = createCallerTraces({ tracer, callers: 'follow' });
    expect(traces.begin('work', SAMPLED, options)).toMatchObject({ headers: OWN, span: { headers: OWN } });
    expect(parents).toEqual([SAMPLED]);
    expect(links).toEqual([]);
  });

  it('have their trace passed on, as not sampled where it is not recorded here', () => {
    const { tracer } = tracerThat({ samples: false });
    const traces = createCallerTraces({ tracer, callers: 'follow' });
    expect(traces.begin('work', SAMPLED, options)).toEqual({ headers: UNSAMPLED, span: undefined });
    expect(traces.begin('work', UNSAMPLED, options)).toEqual({ headers: UNSAMPLED, span: undefined });
    expect(traces.begin('work', {}, options)).toBeUndefined();
    expect(traces.begin('work', { traceparent: ['a', 'b'] }, options)).toBeUndefined();
  });

  it('have it passed on untouched where nothing is ever recorded', () => {
    const traces = createCallerTraces({ tracer: noTracer, callers: 'follow' });
    expect(traces.begin('work', SAMPLED, options)).toEqual({ headers: SAMPLED, span: undefined });
  });
});
