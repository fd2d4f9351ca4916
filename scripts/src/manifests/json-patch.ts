import type { Json } from './objects.js';

/** An operation of RFC 6902. */
export type Operation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string };

type Fields = Readonly<Record<string, Json>>;

/** What makes `after` of `before`. Lists of one length are compared item by item, others are replaced whole. */
export function difference(before: Json, after: Json, path = ''): readonly Operation[] {
  if (isList(before) && isList(after) && before.length === after.length) {
    return after.flatMap((value, index) => difference(before[index] ?? null, value, `${path}/${index}`));
  }
  if (isFields(before) && isFields(after)) return fieldDifference(before, after, path);
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ op: 'replace', path, value: after }];
}

/** `value` with the operations done, in their order. @throws Error for a path that is not there. */
export function applyOperations(value: Json, operations: readonly Operation[]): Json {
  return operations.reduce((current, operation) => applyAt(current, keysOf(operation.path), operation), value);
}

function fieldDifference(before: Fields, after: Fields, path: string): readonly Operation[] {
  const removed = Object.keys(before).filter((key) => !Object.hasOwn(after, key));
  return [
    ...removed.map((key) => ({ op: 'remove' as const, path: `${path}/${escaped(key)}` })),
    ...Object.entries(after).flatMap(([key, value]) => {
      const at = `${path}/${escaped(key)}`;
      const old = Object.hasOwn(before, key) ? before[key] : undefined;
      return old === undefined ? [{ op: 'add' as const, path: at, value }] : difference(old, value, at);
    }),
  ];
}

function applyAt(value: Json, [key, ...rest]: readonly string[], operation: Operation): Json {
  if (key === undefined) {
    if (operation.op === 'remove') throw new Error('the whole document cannot be removed');
    return operation.value;
  }
  if (isList(value)) {
    const index = Number(key);
    if (!(index in value)) throw new Error(`${operation.path}: there is no item ${key}`);
    return value.map((item, at) => (at === index ? applyAt(item, rest, operation) : item));
  }
  if (!isFields(value)) throw new Error(`${operation.path}: there is no field ${key}`);
  const there = Object.hasOwn(value, key);
  if (rest.length === 0 && operation.op === 'remove' && there) {
    return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key));
  }
  if (!there && !(rest.length === 0 && operation.op === 'add')) {
    throw new Error(`${operation.path}: there is no field ${key}`);
  }
  return { ...value, [key]: applyAt(value[key] ?? null, rest, operation) };
}

function keysOf(path: string): readonly string[] {
  return path
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isFields(value: Json): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
