import { z } from 'zod';
import { inOwnWords } from './words.js';

/**
 * An object of named things. Unlike `z.record` it refuses the name `__proto__`, which zod drops without a word; and what is
 * wrong with the others is said all the same.
 */
export function recordOf<Key extends z.ZodString, Value extends z.ZodType>(key: Key, value: Value) {
  const record = z.record(key, value);
  return z.unknown().transform((given, context) => {
    if (Object.hasOwn(Object(given) as object, '__proto__')) {
      context.addIssue({ code: 'custom', path: ['__proto__'], message: 'is a reserved name' });
    }
    return parsedBy(record, given, context);
  });
}

export interface Forms<Scalar extends z.ZodType, Fields extends z.ZodType> {
  readonly type: 'string' | 'number';
  /** For values of that type. */
  readonly scalar: Scalar;
  /** For objects. */
  readonly fields: Fields;
  /** What is said of any other value. */
  readonly otherwise: string;
}

/**
 * A value that may be written as a scalar or with its options as an object. Unlike `z.union` it says what is wrong with the
 * form that was chosen.
 */
export function scalarOrFields<Scalar extends z.ZodType, Fields extends z.ZodType>(forms: Forms<Scalar, Fields>) {
  return z.unknown().transform((given, context): z.output<Scalar> | z.output<Fields> => {
    if (typeof given === forms.type) return parsedBy(forms.scalar, given, context);
    if (isFields(given)) return parsedBy(forms.fields, given, context);
    context.addIssue({ code: 'custom', message: forms.otherwise });
    return z.NEVER;
  });
}

/** What `schema` makes of a value; what it refuses stays as it is, with its issues told. */
function parsedBy<Schema extends z.ZodType>(
  schema: Schema,
  given: unknown,
  context: z.core.$RefinementCtx<unknown>,
): z.output<Schema> {
  const parsed = schema.safeParse(given, { error: inOwnWords });
  if (parsed.success) return parsed.data;
  context.issues.push(...(parsed.error.issues as z.core.$ZodRawIssue[]));
  return given as z.output<Schema>;
}

/** Text that YAML would take for a number unless it is quoted. `message` says so. */
export function quoted(message: string) {
  return z.string({ error: ({ input }) => (input === undefined ? undefined : message) });
}

/**
 * Lets a refinement of an object run although something in it is wrong, so that all is said at once. It then meets fields of
 * any shape, whatever their type says: read them by the functions below.
 */
export const EVEN_WITH_ISSUES = { when: ({ value }: { readonly value: unknown }): boolean => isFields(value) };

export function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The fields of an object; none of anything else. */
export function entriesOf(value: unknown): readonly (readonly [name: string, value: unknown])[] {
  return isFields(value) ? Object.entries(value) : [];
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function fieldOf(value: unknown, name: string): unknown {
  return isFields(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}
