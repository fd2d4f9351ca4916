import {
  eventRoutingKey,
  jobEventType,
  jobIdTimeMs,
  type CloudEvent,
  type JobEventData,
  type LimitEventData,
  type Usage,
} from '@sluice/contracts';
import type { AcceptedFact, CompletedFact } from '@sluice/store';
import type { Trace } from '@sluice/telemetry';
import type { TerminalRecord } from './settlement.js';

/** An event as it is published. */
export interface Announcement {
  readonly event: CloudEvent;
  readonly routingKey: string;
  /** What it is published as a part of. */
  readonly trace?: Trace;
}

const CONSTANT = {
  specversion: '1.0',
  source: '/sluice/results-collector',
  datacontenttype: 'application/json',
} as const;

/** Tells that a job was accepted; `time` is when. */
export function acceptedEvent({ jobId, tenantId, apiKeyId, model, class: jobClass }: AcceptedFact): Announcement {
  const data = { jobId, tenantId, apiKeyId, model, class: jobClass, state: 'queued' } as const;
  return ofJob(data, jobIdTimeMs(jobId));
}

/**
 * Tells how a job ended, with what the ledger says it used and costs. Undefined when the fact is not the one that
 * stands in the ledger: the delivery that brought that one tells it.
 */
export function terminalEvent(fact: CompletedFact, record: TerminalRecord): Announcement | undefined {
  const { jobId, tenantId, apiKeyId, model, class: jobClass, state, error, attempt } = fact;
  if (record.state !== state || !isSameUsage(record.usage, fact.usage)) return undefined;
  const data: JobEventData = {
    jobId,
    tenantId,
    apiKeyId,
    model,
    class: jobClass,
    state,
    attempt,
    usage: record.usage,
    amountNanoUsd: String(record.amountNanoUsd),
    ...(error && { error }),
  };
  return ofJob(data, fact.finishedAtMs);
}

/** An event that carries the trace of its job on, by the distributed tracing extension of CloudEvents. */
export function inTrace(announcement: Announcement, trace: Trace | undefined): Announcement {
  if (trace === undefined) return announcement;
  const { event, routingKey } = announcement;
  return { event: { ...event, ...trace.headers }, routingKey, trace };
}

/** Tells that a quota was used to a percentage; `raisedAtMs` is when that was noticed. */
export function thresholdEvent(data: LimitEventData, raisedAtMs: number): Announcement {
  const { tenantId, limit, subject, periodStart, percent } = data;
  const id = ['limit', tenantId, limit, subject, periodStart, percent].join('|');
  return announcement('sluice.limit.threshold.v1', { id, subject: tenantId, timeMs: raisedAtMs, data });
}

function ofJob(data: JobEventData, timeMs: number): Announcement {
  const type = jobEventType(data.state);
  return announcement(type, { id: `${data.jobId}.${data.state}`, subject: data.jobId, timeMs, data });
}

interface Particulars {
  readonly id: string;
  readonly subject: string;
  /** Unix milliseconds. */
  readonly timeMs: number;
  readonly data: CloudEvent['data'];
}

function announcement(type: CloudEvent['type'], { id, subject, timeMs, data }: Particulars): Announcement {
  return {
    event: { id, type, subject, time: new Date(timeMs).toISOString(), data, ...CONSTANT },
    routingKey: eventRoutingKey(type, data.tenantId),
  };
}

function isSameUsage(a: Usage, b: Usage): boolean {
  return a.inputTokens === b.inputTokens && a.outputTokens === b.outputTokens && a.cachedTokens === b.cachedTokens;
}
