import { parseAllDocuments, stringify } from 'yaml';

/** Anything that JSON can hold. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = Readonly<Record<string, Json>>;

/** An object for Kubernetes. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [key: string]: unknown;
}

/** What Helm adds for itself, which is not true of objects that kubectl applies. */
const OF_HELM = new Set(['helm.sh/chart', 'app.kubernetes.io/managed-by']);

/** The objects of a file with any number of documents. @throws Error for text that is no YAML, with its line. */
export function parseObjects(text: string): readonly KubeObject[] {
  return parseAllDocuments(text, { uniqueKeys: true })
    .map((document) => {
      const [error] = 'errors' in document ? document.errors : [];
      if (error) throw error;
      return 'toJS' in document ? (document.toJS() as KubeObject | null) : null;
    })
    .filter((object): object is KubeObject => object !== null);
}

export function printObjects(objects: readonly KubeObject[]): string {
  return objects.map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n');
}

/** What names an object within a namespace, such as `Deployment/sluice-gateway`. */
export function idOf({ kind, metadata }: Pick<KubeObject, 'kind' | 'metadata'>): string {
  return `${kind}/${metadata.name}`;
}

/** The object without labels that only Helm's releases have. */
export function withoutHelm(object: KubeObject): KubeObject {
  const { labels } = object.metadata;
  if (!labels) return object;
  const kept = Object.fromEntries(Object.entries(labels).filter(([name]) => !OF_HELM.has(name)));
  return { ...object, metadata: { ...object.metadata, labels: kept } };
}
