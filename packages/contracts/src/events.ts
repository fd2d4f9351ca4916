import { z } from 'zod';
import { JOB_CLASSES, jobErrorSchema, usageSchema, type JobState } from './jobs.js';
import { nameSchema, tenantIdSchema } from './names.js';

/** What is told about jobs and limits on the exchange `events`; the CloudEvents `type`. */
export const EVENT_TYPES = [
  'sluice.job.accepted.v1',
  'sluice.job.succeeded.v1',
  'sluice.job.failed.v1',
  'sluice.job.canceled.v1',
  'sluice.job.expired.v1',
  'sluice.limit.threshold.v1',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export function jobEventType(state: Exclude<JobState, 'running'>): EventType {
  return `sluice.job.${state === 'queued' ? 'accepted' : state}.v1`;
}

/** `data` of an event about a job. Inputs and outputs are never in it. */
export const jobEventDataSchema = z.strictObject({
  jobId: z.string(),
  tenantId: tenantIdSchema,
  apiKeyId: z.string(),
  model: nameSchema,
  class: z.enum(JOB_CLASSES),
  state: z.enum(['queued', 'succeeded', 'failed', 'canceled', 'expired']),
  /** Of a job that has ended. */
  usage: usageSchema.optional(),
  /** Integer of nano-USD in text; of a job that has ended. */
  amountNanoUsd: z.string().optional(),
  error: jobErrorSchema.optional(),
  attempt: z.int().optional(),
});
export type JobEventData = z.infer<typeof jobEventDataSchema>;

/** `data` of `sluice.limit.threshold.v1`: a quota has been used to a percentage for the first time in its period. */
export const limitEventDataSchema = z.strictObject({
  tenantId: tenantIdSchema,
  /** Name of the limit, as in `RateLimit` headers. */
  limit: z.string(),
  /** API key or model that the limit is on; empty for the tenant as a whole. */
  subject: z.string(),
  /** First day of the period in the tenant's time zone. */
  periodStart: z.iso.date(),
  percent: z.int(),
  /** Integers in text: tokens, or nano-USD. */
  used: z.string(),
  max: z.string(),
});
export type LimitEventData = z.infer<typeof limitEventDataSchema>;

/** A CloudEvent 1.0 in structured JSON, media type `application/cloudevents+json`. */
export const cloudEventSchema = z.strictObject({
  specversion: z.literal('1.0'),
  /** The same fact always has the same id, so that a repeated event can be recognised. */
  id: z.string().min(1),
  source: z.literal('/sluice/results-collector'),
  type: z.enum(EVENT_TYPES),
  /** The job, or the tenant. */
  subject: z.string().min(1),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  data: z.union([jobEventDataSchema, limitEventDataSchema]),
  /** The trace that the job is a part of, by the distributed tracing extension of CloudEvents; where it is followed. */
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
});
export type CloudEvent = z.infer<typeof cloudEventSchema>;

/** `job.<state>.<tenant>` or `limit.threshold.<tenant>`; n.b. a tenant id may hold dots, so bind with `#` at the end. */
export function eventRoutingKey(type: EventType, tenantId: string): string {
  return `${type.slice('sluice.'.length, -'.v1'.length)}.${tenantId}`;
}
