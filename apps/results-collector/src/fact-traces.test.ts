import type { Delivery } from '@sluice/broker';
import { describe, expect, it } from '@jest/globals';
import { noTracer, type Span, type Tracer } from '@sluice/telemetry';
import { endFactTraces, followFacts, spansOf } from './fact-traces.js';
import type { ResultMessage } from './result-message.js';

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

function delivery(headers: Delivery['headers'] = {}): Delivery {
  return { queue: 'results', routingKey: 'r', messageId: 'm', body: Buffer.alloc(0), headers } as Delivery;
}

function fact(type: 'accepted' | 'completed', jobId: string): ResultMessage {
  return { kind: 'fact', fact: { type, message: { jobId, tenantId: 't' } } } as ResultMessage;
}

/** Records everything; notes what fails and ends. */
function recording() {
  const failed: string[] = [];
  let ended = 0;
  let begun = 0;
  const tracer: Tracer = {
    records: true,
    begin(_name, came) {
      begun += 1;
      const headers = came ?? { traceparent };
      const span: Partial<Span> = {
        headers,
        set: () => undefined,
        fail: (type) => void failed.push(type),
        end: () => void (ended += 1),
      };
      return span as Span;
    },
  };
  return { tracer, failed, ended: () => ended, begun: () => begun };
}

describe('followFacts', () => {
  it('makes nothing of a batch without traces', () => {
    const { tracer, begun } = recording();
    expect(
      followFacts(tracer, [delivery(), delivery({ traceparent: 'x' })], [fact('accepted', 'a'), fact('accepted', 'b')]),
    ).toBeUndefined();
    expect(begun()).toBe(0);
    expect(spansOf(undefined)).toEqual([]);
  });

  it('knows each fact by its type and job, of several deliveries the first, and no other messages', () => {
    const { tracer, begun } = recording();
    const messages = [fact('accepted', 'a'), fact('completed', 'a'), fact('completed', 'a'), fact('completed', 'b')];
    const others: ResultMessage[] = [{ kind: 'unreadable', problem: 'p' }];
    const deliveries = [...messages, ...others].map(() => delivery({ traceparent }));
    const traces = followFacts(tracer, deliveries, [...messages, ...others]);
    expect([...(traces?.keys() ?? [])]).toEqual(['accepted:a', 'completed:a', 'completed:b']);
    expect(begun()).toBe(3);
    expect(spansOf(traces)).toHaveLength(3);
    expect(spansOf(traces, () => ['completed:b', 'completed:unknown'])).toHaveLength(1);
  });

  it('passes a trace on that is not recorded here', () => {
    const traces = followFacts(noTracer, [delivery({ traceparent })], [fact('completed', 'a')]);
    expect(traces?.get('completed:a')).toEqual({ headers: { traceparent }, span: undefined });
    expect(spansOf(traces)).toEqual([]);
  });

  it('ends all, those that cannot be recorded as failed', () => {
    const { tracer, failed, ended } = recording();
    const traces = followFacts(
      tracer,
      [delivery({ traceparent }), delivery({ traceparent })],
      [fact('accepted', 'a'), fact('completed', 'a')],
    );
    endFactTraces(traces, new Map([['completed:a', 'PostgreSQL refuses it']]));
    expect(failed).toEqual(['unrecordable']);
    expect(ended()).toBe(2);
  });
});
