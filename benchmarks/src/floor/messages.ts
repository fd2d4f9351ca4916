import type { Options } from 'amqplib';

/** What the floor's gateway queues. */
export interface FloorJob {
  readonly jobId: string;
  readonly tenantId: string;
  readonly model: string;
  readonly input: string;
  readonly tokens: number;
}

/** What the floor's worker answers. */
export interface FloorResult extends Omit<FloorJob, 'input'> {
  readonly finishedAtMs: number;
  readonly digest: string;
}

export const FLOOR_QUEUES = { jobs: 'floor.jobs', results: 'floor.results' } as const;

export const QUEUE_OPTIONS: Options.AssertQueue = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

/** Redis keys of a tenant, all with one hash tag. */
export function floorKeys(tenantId: string) {
  const tag = `floor:{${tenantId}}`;
  return {
    limits: `${tag}:limits`,
    counters: `${tag}:counters`,
    expiries: `${tag}:expiries`,
    hold: (jobId: string) => `${tag}:hold:${jobId}`,
  };
}
