import type { Percentiles } from '../harness/statistics.js';

/** What one HTTP request carries; each request of a run takes the next template, round and round. */
export interface RequestTemplate {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** How requests are sent. */
export type Pace =
  /** Each connection sends its next request when it has the answer to the last one. */
  | { readonly kind: 'closed'; readonly connections: number }
  /** Requests are sent by the clock, whether or not earlier ones are answered. */
  | { readonly kind: 'paced'; readonly connections: number; readonly perSecond: number };

/** A run of the load generator: bounded in count, and in time. */
export interface LoadPlan {
  /** Where to POST to; on the loopback interface. */
  readonly url: string;
  readonly pace: Pace;
  readonly requests: number;
  readonly timeLimitMs: number;
  readonly templates: readonly RequestTemplate[];
}

export interface LoadResult {
  /** Answers with status 202. */
  readonly accepted: number;
  /** All other answers and failures, by status or error, with their number. */
  readonly refused: Readonly<Record<string, number>>;
  /** First request sent, last answer read (Unix ms). */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** From sending a request to reading its answer (ms). */
  readonly submitMs: Percentiles;
  /** Paced only: how far sending ran behind the clock (ms). */
  readonly lateMs?: Percentiles;
  /** CPU time of the generator during the run. */
  readonly cpuMicros: number;
}

/** What a way of sending requests reports: each answer as it comes. */
export type OnAnswer = (status: number | string, latencyMs: number) => void;
