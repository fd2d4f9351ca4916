import { loadedFor, type ModelRoutes } from './served-models.js';

/** How metrics name a version. */
export interface VersionLabel {
  /** The public name that leads to it, the first of the alphabet where several do. */
  readonly model: string;
  /** Its number; `1~1` for files that were changed in place. */
  readonly version: string;
}

/** Names versions for metrics: processes know them by the repository's names, everybody else by public ones. */
export interface VersionLabels {
  /** Learns the names of these; versions that are not among them keep theirs. */
  learn(models: ReadonlyMap<string, ModelRoutes>): void;
  /** Forgets other versions, by their keys. */
  keepOnly(keys: ReadonlySet<string>): void;
  /** The same object until another name is learnt. The key itself stands for the name of a version that nobody learnt. */
  readonly of: (key: string) => VersionLabel;
}

export function createVersionLabels(): VersionLabels {
  const labels = new Map<string, VersionLabel>();
  return {
    learn(models) {
      const learnt = new Set<string>();
      for (const [model, routes] of [...models].sort(([a], [b]) => (a < b ? -1 : 1))) {
        for (const { key, model: files } of loadedFor(routes)) {
          if (learnt.has(key)) continue;
          learnt.add(key);
          const version = key.slice(files.name.length + 1);
          if (labels.get(key)?.model !== model) labels.set(key, { model, version });
        }
      }
    },
    keepOnly(keys) {
      for (const key of labels.keys()) if (!keys.has(key)) labels.delete(key);
    },
    of: (key) => labels.get(key) ?? { model: key, version: '' },
  };
}
