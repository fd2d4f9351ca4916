import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';

/** A JSON Schema; also a part of one. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly nullable?: boolean;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly [key: string]: unknown;
}

/** A kind of objects, and the file that describes it, such as `deployment-v1.json`. */
export interface KindSchema {
  readonly file: string;
  readonly schema: Schema;
}

/** Kubernetes' own kinds that the chart may render: group, version, kind. */
const KINDS: readonly (readonly [group: string, version: string, kind: string])[] = [
  ['', 'v1', 'ConfigMap'],
  ['', 'v1', 'Pod'],
  ['', 'v1', 'Secret'],
  ['', 'v1', 'Service'],
  ['', 'v1', 'ServiceAccount'],
  ['apps', 'v1', 'Deployment'],
  ['apps', 'v1', 'StatefulSet'],
  ['autoscaling', 'v2', 'HorizontalPodAutoscaler'],
  ['batch', 'v1', 'Job'],
  ['networking.k8s.io', 'v1', 'Ingress'],
  ['networking.k8s.io', 'v1', 'NetworkPolicy'],
  ['policy', 'v1', 'PodDisruptionBudget'],
  ['scheduling.k8s.io', 'v1', 'PriorityClass'],
];

/** The document calls it a text; the API server takes numbers, too. */
const QUANTITY = 'io.k8s.apimachinery.pkg.api.resource.Quantity';

interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

type Definitions = Readonly<Record<string, Schema>>;

/** The file of a kind. */
export function schemaFile(kind: string, version: string): string {
  return `${kind.toLowerCase()}-${version}.json`;
}

/** Of Kubernetes' kinds, from the OpenAPI document of its API server (`api/openapi-spec/swagger.json`). */
export async function kubernetesSchemas(swaggerPath: string): Promise<readonly KindSchema[]> {
  const { definitions } = JSON.parse(await readFile(swaggerPath, 'utf8')) as { readonly definitions: Definitions };
  const kinds = KINDS.map(([group, version, kind]) => {
    const found = Object.entries(definitions).find(([, definition]) =>
      ((definition['x-kubernetes-group-version-kind'] ?? []) as readonly GroupVersionKind[]).some(
        (each) => each.group === group && each.version === version && each.kind === kind,
      ),
    );
    if (!found) throw new Error(`${swaggerPath} has no ${kind} of ${group}/${version}`);
    return { kind, version, definition: found[0] };
  });
  const all = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    definitions: Object.fromEntries(
      [
        ...reachable(
          definitions,
          kinds.map(({ definition }) => definition),
        ),
      ]
        .sort()
        .map((name) => [name, name === QUANTITY ? { type: ['string', 'number'] } : strict(definitions[name] ?? {})]),
    ),
  };
  return [
    { file: 'kubernetes.json', schema: all },
    ...kinds.map(({ kind, version, definition }) => ({
      file: schemaFile(kind, version),
      schema: { $ref: `kubernetes.json#/definitions/${definition}` },
    })),
  ];
}

/** Of one kind of a CustomResourceDefinition, in the version given. */
export async function customSchema(crdPath: string, version: string): Promise<KindSchema> {
  const [document] = parseAllDocuments(await readFile(crdPath, 'utf8'));
  const { spec } = document?.toJS() as {
    readonly spec: {
      readonly names: { readonly kind: string };
      readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
    };
  };
  const found = spec.versions.find(({ name }) => name === version);
  if (!found) throw new Error(`${crdPath} has no version ${version}`);
  const schema = strict(found.schema.openAPIV3Schema);
  const { status: _status, ...properties } = schema.properties ?? {};
  return {
    file: schemaFile(spec.names.kind, version),
    schema: {
      $schema: 'http://json-schema.org/draft-07/schema#',
      ...schema,
      properties: { ...properties, metadata: { type: 'object' } },
    },
  };
}

function reachable(definitions: Definitions, roots: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const waiting = [...roots];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    for (const [, target] of JSON.stringify(definitions[name]).matchAll(/#\/definitions\/([^"]+)/g)) {
      if (target !== undefined) waiting.push(target);
    }
  }
  return seen;
}

/** Words for people, and what a validator of JSON Schema does not know. */
const DROPPED = new Set(['description', 'example', 'default', 'format']);

/** The schema without words, which refuses fields that it does not know, and takes what the API server takes. */
function strict(schema: unknown): Schema {
  return walk(schema) as Schema;
}

function walk(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(walk);
  if (typeof value !== 'object' || value === null) return value;
  const schema = value as Schema;
  // A number or a text; OpenAPI cannot say that.
  if (schema['x-kubernetes-int-or-string'] === true || schema.format === 'int-or-string') {
    return { type: ['integer', 'string'] };
  }
  const entries = Object.entries(schema).filter(([key]) => !DROPPED.has(key) && !key.startsWith('x-kubernetes-'));
  const { nullable, ...copy }: Schema = Object.fromEntries(
    entries.map(([key, part]) => [key, key === 'properties' ? namedSchemas(part as Schema) : walk(part)]),
  );
  const open = copy.additionalProperties !== undefined || schema['x-kubernetes-preserve-unknown-fields'] === true;
  return {
    ...copy,
    ...(copy.properties !== undefined && !open && { additionalProperties: false }),
    ...(nullable === true && typeof copy.type === 'string' && { type: [copy.type, 'null'] }),
  };
}

/** n.b. a field may be called `description` or `format`. */
function namedSchemas(properties: Schema): Schema {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, walk(schema)]));
}
