import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { workQueue } from '@sluice/contracts';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { chartDigest, fileDigests, objectsDigest, readFolder, type Lock } from '../src/manifests/lock.js';
import { idOf, type KubeObject } from '../src/manifests/objects.js';
import { CHART, CONFIG_FILES, LOCK, SCHEMAS } from '../src/manifests/places.js';
import { schemaFile } from '../src/manifests/schema-files.js';
import { CONFIG_DIR, ROOT } from '../src/paths.js';
import { podOf, readManifests, VARIANTS, type Container, type Manifests, type Pod } from './committed-manifests.js';

// Whether manifests/ is what the chart renders can only be said by Helm, which is neither in npm nor in Debian. So the lock file holds
// digests of both sides: `npm run manifests` writes it, and here is seen whether either side was changed since.

const AGAIN = 'run `npm run manifests`';

let lock: Lock;
let files: Manifests['files'];
let objects: Manifests['objects'];

beforeAll(async () => {
  lock = JSON.parse(await readFile(LOCK, 'utf8')) as Lock;
  ({ files, objects } = await readManifests());
});

describe('manifests/', () => {
  it(`was rendered from this chart: otherwise ${AGAIN}`, async () => {
    expect(await chartDigest(CHART)).toBe(lock.chart);
  });

  it('was not edited', () => {
    expect(fileDigests(files)).toEqual(lock.files);
  });

  it.each(VARIANTS)('comes to what the chart renders: %s', (variant) => {
    expect(objectsDigest(objects[variant])).toBe(lock.objects[variant]);
  });

  it.each(VARIANTS)('holds objects that Kubernetes and the operators know: %s', async (variant) => {
    const validate = await validator();
    for (const object of objects[variant]) expect({ [idOf(object)]: validate(object) }).toEqual({ [idOf(object)]: [] });
  });

  it('is validated by schemas that refuse something', async () => {
    const validate = await validator();
    const [deployment] = objects.base.filter(({ kind }) => kind === 'Deployment');
    expect(validate({ ...deployment, spec: { replicaz: 1 } } as unknown as KubeObject)).not.toEqual([]);
    const [scaled] = objects.production.filter(({ kind }) => kind === 'ScaledObject');
    expect(
      validate({ ...scaled, spec: { ...(scaled?.['spec'] as object), pollingIntervall: 1 } } as KubeObject),
    ).not.toEqual([]);
  });

  it('refers only to ConfigMaps and service accounts that it has', () => {
    for (const variant of VARIANTS) {
      const there = new Set(objects[variant].map(idOf));
      for (const { pod } of pods(objects[variant])) {
        const account = pod.serviceAccountName;
        if (account !== undefined) expect(there).toContain(`ServiceAccount/${account}`);
        for (const { configMap } of pod.volumes ?? [])
          if (configMap) expect(there).toContain(`ConfigMap/${configMap.name}`);
      }
    }
  });
});

describe('the programs in manifests/', () => {
  it('get only variables that docs/configuration.md has', async () => {
    const page = await readFile(join(ROOT, 'docs', 'configuration.md'), 'utf8');
    const known = new Set([...page.matchAll(/^\| `((?:SLUICE|OTEL)_\w+)`/gm)].map(([, name]) => name));
    const given = VARIANTS.flatMap((variant) => pods(objects[variant])).flatMap(({ pod }) =>
      pod.containers.flatMap(namesOf),
    );
    const ours = given.filter((name) => /^(SLUICE|OTEL)_/.test(name));
    expect(ours.length).toBeGreaterThan(30);
    expect(ours.filter((name) => !known.has(name))).toEqual([]);
  });

  it('are given longer to end than they take to drain', () => {
    const apps = VARIANTS.flatMap((variant) => pods(objects[variant])).filter(({ pod }) => drainOf(pod) !== undefined);
    expect(apps.length).toBe(9);
    for (const { pod } of apps) expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(drainOf(pod) ?? Infinity);
  });

  it('are allowed nothing that the strictest Pod Security Standard forbids', () => {
    for (const { id, pod } of VARIANTS.flatMap((variant) => pods(objects[variant]))) {
      expect([id, pod.securityContext]).toMatchObject([
        id,
        { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      ]);
      for (const { securityContext } of [...pod.containers, ...(pod.initContainers ?? [])]) {
        const wanted = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
        expect([id, securityContext]).toMatchObject([id, wanted]);
      }
    }
  });
});

describe('the ScaledObjects', () => {
  it('look at the queues that workers consume', () => {
    const scaled = objects.production.filter(({ kind }) => kind === 'ScaledObject');
    const queues = scaled.flatMap(({ spec }) =>
      (spec as ScaledSpec).triggers.map(({ metadata }) => metadata['queueName']),
    );
    expect(queues.filter(Boolean)).toEqual([
      workQueue('text', 'interactive'),
      workQueue('text', 'standard'),
      workQueue('text', 'batch'),
    ]);
  });

  it('have a name for every trigger that the formula needs', () => {
    for (const { spec } of objects.production.filter(({ kind }) => kind === 'ScaledObject')) {
      const { triggers, advanced } = spec as ScaledSpec;
      const names = advanced.scalingModifiers.formula
        .match(/[a-z]\w+/g)
        ?.filter((word) => !['max', 'nil'].includes(word));
      expect(new Set(names)).toEqual(new Set(triggers.flatMap(({ name }) => name ?? [])));
    }
  });
});

describe('the chart', () => {
  it(`has the repository's configuration: otherwise ${AGAIN}`, async () => {
    const configuration = await readFolder(CONFIG_DIR);
    const wanted = Object.fromEntries(CONFIG_FILES.map((file) => [file, configuration[file]]));
    expect(await readFolder(join(CHART, 'files', 'config'))).toEqual(wanted);
  });

  it('explains every value', async () => {
    const readme = await readFile(join(CHART, 'README.md'), 'utf8');
    const values = await readValues('values.yaml');
    const cells = [...readme.matchAll(/^\| (`[^|]+`) +\|/gm)].map(([, cell]) => cell ?? '');
    const explained = new Set(cells.flatMap((cell) => cell.split(', ').map((name) => name.replaceAll('`', '').trim())));
    const paths = Object.entries(values).flatMap(([name, value]) => valuePaths(name, value));
    expect(paths.filter((path) => !isExplained(path, explained))).toEqual([]);
  });

  it('is refused with values that its schema does not know', async () => {
    const schema = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8')) as object;
    const validate = new Ajv({ strict: false }).compile(schema);
    const defaults = await readValues('values.yaml');
    for (const file of ['values.yaml', 'values-development.yaml', 'values-production.yaml']) {
      const values = merged(defaults, await readValues(file));
      expect([file, validate(values), validate.errors]).toEqual([file, true, null]);
    }
    expect(validate({ ...defaults, gateway: undefined })).toBe(false);
    expect(validate(merged(defaults, { gateway: { replicaz: 1 } }))).toBe(false);
  });
});

type Values = Readonly<Record<string, unknown>>;

async function readValues(file: string): Promise<Values> {
  return parse(await readFile(join(CHART, file), 'utf8')) as Values;
}

/** As Helm does before it looks at the schema: objects field by field, anything else whole. */
function merged(defaults: Values, values: Values): Values {
  const fields = Object.entries(values).map(([name, value]) => {
    const before = defaults[name];
    return [name, isValues(before) && isValues(value) ? merged(before, value) : value];
  });
  return { ...defaults, ...(Object.fromEntries(fields) as Values) };
}

function isValues(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface ScaledSpec {
  readonly triggers: readonly { readonly name?: string; readonly metadata: Readonly<Record<string, string>> }[];
  readonly advanced: { readonly scalingModifiers: { readonly formula: string } };
}

function pods(all: readonly KubeObject[]): readonly { readonly id: string; readonly pod: Pod }[] {
  return all.flatMap((object) => {
    const pod = podOf(object);
    return pod ? [{ id: idOf(object), pod }] : [];
  });
}

function namesOf({ env = [] }: Container): readonly string[] {
  return env.map(({ name }) => name);
}

function drainOf({ containers }: Pod): number | undefined {
  const found = containers.flatMap(({ env = [] }) => env).find(({ name }) => name === 'SLUICE_DRAIN_TIMEOUT');
  return found?.value === undefined ? undefined : Number(found.value.replace(/s$/, ''));
}

/** n.b. patterns of custom resources are Go's, which has `(?i)` where JavaScript has a flag. */
const goRegExp = Object.assign(
  (pattern: string, flags: string) =>
    new RegExp(pattern.replace('(?i)', ''), pattern.includes('(?i)') ? `${flags}i` : flags),
  { code: 'new RegExp' },
);

async function validator(): Promise<(object: KubeObject) => readonly unknown[]> {
  // n.b. the schemas refer to each other by file.
  const ajv = new Ajv({ strict: false, allErrors: true, code: { regExp: goRegExp } });
  const { 'README.md': _readme, ...schemas } = await readFolder(SCHEMAS);
  for (const [file, text] of Object.entries(schemas)) ajv.addSchema(JSON.parse(text) as object, file);
  return (object) => {
    const file = schemaFile(object.kind, object.apiVersion.split('/').at(-1) ?? '');
    const validate = ajv.getSchema(file);
    if (!validate) return [`no schema for ${object.apiVersion} ${object.kind}`];
    return validate(object) ? [] : (validate.errors ?? []);
  };
}

/** The paths of a value down to lists and scalars, such as `gateway.service.port`. */
function valuePaths(path: string, value: unknown): readonly string[] {
  const entries = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  return entries.length === 0 ? [path] : entries.flatMap(([key, inner]) => valuePaths(`${path}.${key}`, inner));
}

/** A row about `gateway.service.*`, or about `*.env` of all apps, explains what is within. */
function isExplained(path: string, rows: ReadonlySet<string>): boolean {
  const keys = path.split('.');
  const prefixes = keys.map((_, index) => keys.slice(0, index + 1).join('.'));
  const ofAllApps = ['gateway', 'collector', 'worker'].includes(keys[0] ?? '')
    ? prefixes.map((each) => each.replace(/^\w+/, '*'))
    : [];
  return [...prefixes, ...ofAllApps].some((each) => rows.has(each));
}
