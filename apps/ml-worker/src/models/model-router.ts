import { createHash } from 'node:crypto';
import type { AcceptedMessage } from '@sluice/contracts';
import type { ModelRoutes, ServedModel, Shadow } from './served-models.js';

/** What decides which version a job gets. */
export type RoutedJob = Pick<AcceptedMessage, 'model' | 'jobId' | 'tenantId' | 'apiKeyId'>;

/** Knows which version runs a job. */
export interface ModelRouter {
  /** By public name. */
  readonly models: ReadonlyMap<string, ModelRoutes>;
  /**
   * The version that runs a job: the same at every attempt and at every worker, as long as they have the same `models.yaml` and
   * repository. Undefined when the model is not served here.
   */
  route(job: RoutedJob): ServedModel | undefined;
  /** What a job that a version has answered is to be compared with; undefined when nothing, as for jobs of the canary. */
  shadowOf(job: RoutedJob, answeredBy: ServedModel): Shadow | undefined;
  /** Sends jobs by other routes from now on. Work that was begun keeps its version. */
  switchTo(models: ReadonlyMap<string, ModelRoutes>): void;
}

export function createModelRouter(first: ReadonlyMap<string, ModelRoutes>): ModelRouter {
  let models = first;
  return {
    get models() {
      return models;
    },
    route(job) {
      const routes = models.get(job.model);
      if (!routes) return undefined;
      const { main, canary } = routes;
      return canary && isWithin(canary.percent, job.model, stickyKey(job, canary.stickyBy)) ? canary.served : main;
    },
    shadowOf(job, answeredBy) {
      const { main, shadow } = models.get(job.model) ?? {};
      if (!shadow || main?.key !== answeredBy.key) return undefined;
      // n.b. other places than for a canary, whose keys would be those of the shadow otherwise.
      return isWithin(shadow.percent, `shadow of ${job.model}`, stickyKey(job, shadow.stickyBy)) ? shadow : undefined;
    },
    switchTo(next) {
      models = next;
    },
  };
}

type StickyBy = NonNullable<ModelRoutes['canary']>['stickyBy'];

function stickyKey(job: RoutedJob, stickyBy: StickyBy): string {
  switch (stickyBy) {
    case 'tenant':
      return job.tenantId;
    case 'apiKey':
      return job.apiKeyId;
    case 'job':
      return job.jobId;
    default:
      return stickyBy satisfies never;
  }
}

/**
 * Whether a key belongs to the first `percent` of all keys. Each key has its fixed place, so a greater percentage only adds
 * keys; its places for different purposes have nothing to do with each other.
 */
function isWithin(percent: number, purpose: string, key: string): boolean {
  return placeOf(`${purpose} ${key}`) * 100 < percent;
}

/** Spreads texts evenly over 0 … 1 (1 excluded), by the first 48 bits of their SHA-256. */
function placeOf(text: string): number {
  return createHash('sha256').update(text).digest().readUIntBE(0, 6) / 2 ** 48;
}
