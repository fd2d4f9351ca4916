import type { JobClass } from './jobs.js';

/**
 * Exchanges and queues.
 *
 * ```
 * submissions ─┬─▶ results (the accepted fact)          work ──▶ retry.<delay> ──(TTL)──▶ jobs
 *              └─▶ jobs ─▶ work.<pool>.<class>          work, results ──(limit, reject)──▶ dead
 *                    └─(no such queue)─▶ unrouted       worker ──▶ results (the completed fact)
 * ingest ─▶ ingest (other services' submissions)        gateway ──▶ cancellations ─▶ every worker
 *                                                       collector ──▶ events ─▶ whoever binds a queue
 * ```
 */
export const EXCHANGES = {
  /** Fanout: a publish here is work and accepted fact at once. */
  submissions: 'submissions',
  /** Topic, routing key `<pool>.<class>`; alternate exchange `unrouted`. */
  jobs: 'jobs',
  /** Direct-like: facts for the results collector. */
  results: 'results',
  dead: 'dead',
  unrouted: 'unrouted',
  /** Topic; the only place other services may write to. Any routing key leads to the queue `ingest`. */
  ingest: 'ingest',
  /** Topic: what happened to jobs, for other services. Routing key: see `eventRoutingKey`. */
  events: 'events',
  /** Fanout: every worker has a queue of its own here, for requests to cancel and notices of the time. */
  cancellations: 'cancellations',
} as const;

export const QUEUES = { results: 'results', dead: 'dead', unrouted: 'unrouted', ingest: 'ingest' } as const;

/** Delays of the retry tiers. Each is an exchange and a queue of the same name; the TTL belongs to the queue. */
export const RETRY_TIERS = [
  { name: 'retry.5s', delayMs: 5_000 },
  { name: 'retry.30s', delayMs: 30_000 },
  { name: 'retry.5m', delayMs: 300_000 },
] as const;

/**
 * Lost deliveries after which the broker gives up on a job. A worker that is killed or loses its connection counts
 * against every job it holds, begun or not, so this is no bound on attempts (that is `MAX_ATTEMPTS`): it only ends
 * a job that takes its whole worker down each time.
 */
export const DELIVERY_LIMIT = 20;

/** Attempts after which a job that fails in a way that might pass is given up. */
export const MAX_ATTEMPTS = 5;

export function routingKey(pool: string, jobClass: JobClass): string {
  return `${pool}.${jobClass}`;
}

export function workQueue(pool: string, jobClass: JobClass): string {
  return `work.${routingKey(pool, jobClass)}`;
}
