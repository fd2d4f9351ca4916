import type { Service } from '@sluice/runtime';
import type { KeyedModel } from '../inference/inference-protocol.js';
import type { ModelRoutes, ServedTextModel, Shadow } from '../models/served-models.js';
import { pairKey, type ShadowTally, type VersionPair } from './shadow-tally.js';
import { createShadowVersion, type ShadowVersion, type ShadowVersionOptions } from './shadow-version.js';

/** Jobs that may wait to be compared. */
export const MOST_JOBS = 256;
/** Their token ids and rows, in bytes. */
export const MOST_BYTES = 16 * 2 ** 20;

/** A job that was answered, and is to be compared with what another version makes of it. */
export interface ShadowedJob {
  readonly jobId: string;
  /** Public name. */
  readonly model: string;
  /** What answered. */
  readonly served: ServedTextModel;
  readonly shadow: Shadow;
  /** Token ids of each text. */
  readonly sequences: readonly Int32Array[];
  /** float32 `[sequences, dimensions]` of the version that answered. */
  readonly rows: Float32Array;
}

/**
 * Runs answered jobs again on shadow versions and compares the outputs.
 *
 * Each shadow version has a process of its own with the lowest priority, so that whatever it does, no process that serves is lost or slowed.
 * It runs one text at a time, and begins none while the worker has other work. What waits is bounded, and each version has an equal share of
 * that, so that one which is slow or cannot run takes nothing from the others; what does not fit is dropped.
 */
export interface Shadows extends Service {
  /** By the version's key. */
  readonly versions: ReadonlyMap<string, ShadowVersion>;
  /** Why versions could not be loaded when that was last tried, by their keys. */
  readonly unloadable: ReadonlyMap<string, string>;
  /** The same for people, one sentence for each model that is to be compared with one of them. */
  readonly problems: readonly string[];
  /** Whether every version can run. */
  readonly areLoaded: boolean;
  /** Takes a copy of the job to compare it some time, or drops it. */
  offer(job: ShadowedJob): void;
  /**
   * Compares with the shadow versions of these models, and with no other. One that could not be loaded is tried again. Before `start` it only
   * says which.
   */
  follow(models: ReadonlyMap<string, ModelRoutes>): void;
}

export interface ShadowsOptions extends ShadowVersionOptions {
  readonly tally: ShadowTally;
}

export function createShadows(options: ShadowsOptions): Shadows {
  const { tally } = options;
  const versions = new Map<string, ShadowVersion>();
  let pairs: readonly VersionPair[] = [];
  let isStarted = false;
  /** Versions that are ending. */
  const ending = new Set<Promise<void>>();

  function end(version: ShadowVersion): void {
    const ended = version.stop();
    ending.add(ended);
    void ended.then(() => ending.delete(ended));
  }

  function unloadable(): ReadonlyMap<string, string> {
    return new Map([...versions].flatMap(([key, { reason }]) => (reason === undefined ? [] : [[key, reason]])));
  }

  function apply(): void {
    const wanted = new Map(pairs.map(({ shadow: { served } }) => [served.key, served]));
    for (const [key, version] of versions) {
      if (wanted.has(key)) continue;
      versions.delete(key);
      end(version);
    }
    const bounds = { jobs: Math.ceil(MOST_JOBS / wanted.size), bytes: Math.ceil(MOST_BYTES / wanted.size) };
    const compared = new Set(pairs.map(pairKey));
    for (const [key, served] of wanted) {
      const known = versions.get(key);
      known?.retry();
      const version = known ?? createShadowVersion(plain(served), options);
      versions.set(key, version);
      version.limit(bounds, (job) => compared.has(pairKey(job)));
    }
  }

  return {
    versions,
    get unloadable() {
      return unloadable();
    },
    get problems() {
      const reasons = unloadable();
      return pairs.flatMap(({ model, shadow: { served } }) => {
        const reason = reasons.get(served.key);
        return reason === undefined ? [] : [`The shadow of ${model} cannot be used: ${reason}`];
      });
    },
    get areLoaded() {
      return [...versions.values()].every(({ state }) => state === 'ready');
    },
    offer(job) {
      if (job.sequences.length === 0) return;
      versions.get(job.shadow.served.key)?.offer(job);
    },
    follow(models) {
      pairs = [...models].flatMap(([model, { main: served, shadow }]) => (shadow ? [{ model, served, shadow }] : []));
      if (isStarted) apply();
      tally.follow(pairs);
    },
    async start() {
      isStarted = true;
      apply();
    },
    async stop() {
      isStarted = false;
      for (const version of versions.values()) end(version);
      versions.clear();
      await Promise.all(ending);
    },
  };
}

/** n.b. plain data only, for it goes to a process. */
function plain({ key, model }: KeyedModel): KeyedModel {
  return { key, model };
}
