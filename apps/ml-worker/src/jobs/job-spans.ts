import type { Delivery, Settlement } from '@sluice/broker';
import { acceptedAtMs, type AcceptedMessage, type CompletedMessage, type Task } from '@sluice/contracts';
import {
  errorType,
  follow,
  messageSpan,
  readTraceHeaders,
  type Span,
  type Trace,
  type Tracer,
} from '@sluice/telemetry';
import type { ServedModel } from '../models/served-models.js';

/** What the conventions for generative models call the work, where they have a name for it. */
const OPERATIONS: Readonly<Record<Task, string>> = {
  embedding: 'embeddings',
  'text-classification': 'classify',
  tensors: 'infer',
};

/** Undefined, at the cost of one look, for a job without a trace. */
export function followDelivery(tracer: Tracer, delivery: Delivery): Trace | undefined {
  const { queue, routingKey, messageId, body } = delivery;
  return follow(tracer, readTraceHeaders(delivery.headers), `process ${queue}`, () =>
    messageSpan('process', { destination: queue, routingKey, messageId, size: body.length }),
  );
}

/** @param nowMs by the clock of jobs. */
export function noteJob(span: Span, message: AcceptedMessage, nowMs: number): void {
  span.set({
    'sluice.tenant.id': message.tenantId,
    'sluice.job.id': message.jobId,
    'sluice.job.class': message.class,
    'sluice.model': message.model,
    'sluice.queue_wait_seconds': Math.max(0, nowMs - acceptedAtMs(message)) / 1000,
  });
}

export function noteCompleted(span: Span, { state, attempt, error }: CompletedMessage): void {
  span.set({ 'sluice.job.state': state, 'sluice.job.attempt': attempt });
  if (error) span.fail(error.code);
}

/** n.b. the reason of a dead letter is `<code>` or `<code>: <explanation>`; only the code is told. */
export function noteSettlement(span: Span, settlement: Settlement): void {
  if (settlement.kind === 'ack') return;
  const code = /^\w*/.exec(settlement.reason ?? '')?.[0] || 'unknown';
  span.fail(code);
  if (settlement.kind === 'dead') span.event('dead letter', { 'sluice.reason': code });
  else span.event('retry', { 'sluice.reason': code, 'sluice.retry.delay_seconds': settlement.delayMs / 1000 });
}

/** The parts of a job's attempt: waiting for a process, then inference. */
export interface JobSpans {
  /** Undefined while the job waits. What its batches are parts of. */
  readonly inference: Span | undefined;
  /** The first text of the job is about to run. */
  begin(): void;
  fail(error: unknown): void;
  end(): void;
}

export function jobSpans(job: Span, message: AcceptedMessage, served: ServedModel): JobSpans {
  const waiting = job.child('wait for a process');
  let inference: Span | undefined;
  return {
    get inference() {
      return inference;
    },
    begin() {
      waiting.end();
      inference = beginInference(job, message, served);
    },
    fail(error) {
      (inference ?? waiting).fail(errorType(error));
    },
    end() {
      waiting.end();
      inference?.end();
    },
  };
}

function beginInference(job: Span, { model, inputTokens }: AcceptedMessage, served: ServedModel): Span {
  const operation = OPERATIONS[served.model.file.task];
  return job.child(`${operation} ${model}`, {
    attributes: {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': 'sluice',
      'gen_ai.request.model': model,
      'gen_ai.response.model': served.key,
      'gen_ai.usage.input_tokens': inputTokens,
    },
  });
}
