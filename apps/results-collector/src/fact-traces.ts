import type { Delivery } from '@sluice/broker';
import { follow, messageSpan, readTraceHeaders, type Span, type Trace, type Tracer } from '@sluice/telemetry';
import { factKey } from './facts.js';
import type { ResultMessage } from './result-message.js';

/** Where facts stand among traces, by `factKey`; those that belong to none are absent. */
export type FactTraces = ReadonlyMap<string, Trace>;

/** Goes on with the trace of a message. */
export function followDelivery(
  tracer: Tracer,
  { queue, routingKey, messageId, body, headers }: Delivery,
): Trace | undefined {
  return follow(tracer, readTraceHeaders(headers), `process ${queue}`, () =>
    messageSpan('process', { destination: queue, routingKey, messageId, size: body.length }),
  );
}

/** Goes on with the traces of a batch. Undefined, at the cost of a look at each delivery, when there is none. */
export function followFacts(
  tracer: Tracer,
  deliveries: readonly Delivery[],
  messages: readonly ResultMessage[],
): FactTraces | undefined {
  let traces: Map<string, Trace> | undefined;
  deliveries.forEach((delivery, index) => {
    if (delivery.headers['traceparent'] === undefined) return;
    const message = messages[index];
    if (message?.kind !== 'fact') return;
    const { type, message: fact } = message.fact;
    const key = factKey(type, fact.jobId);
    // Of several deliveries of a fact the first counts.
    if (traces?.has(key)) return;
    const trace = followDelivery(tracer, delivery);
    if (!trace) return;
    trace.span?.set({ 'sluice.tenant.id': fact.tenantId, 'sluice.job.id': fact.jobId, 'sluice.fact': type });
    (traces ??= new Map()).set(key, trace);
  });
  return traces;
}

/** Ends what is recorded of facts. @param refused those that can never be recorded, with the reason. */
export function endFactTraces(traces: FactTraces | undefined, refused?: ReadonlyMap<string, string>): void {
  if (!traces) return;
  for (const [key, { span }] of traces) {
    if (refused?.has(key)) span?.fail('unrecordable');
    span?.end();
  }
}

/** What is recorded of all facts, or of those by these keys. */
export function spansOf(traces: FactTraces | undefined, keys?: () => readonly string[]): readonly Span[] {
  if (!traces) return NONE;
  const wanted = keys ? keys().flatMap((key) => traces.get(key) ?? []) : [...traces.values()];
  return wanted.flatMap(({ span }) => span ?? []);
}

const NONE: readonly Span[] = [];
