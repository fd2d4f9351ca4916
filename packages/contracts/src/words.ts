import type { z } from 'zod';

const TYPES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

const FORMATS: Readonly<Record<string, string>> = {
  url: 'must be a URL of the right kind',
  datetime: 'must be a date and time such as 2026-11-01T00:00:00Z',
  date: 'must be a date such as 2026-11-01',
  base64: 'must be base64',
};

/**
 * What is said to people instead of zod's own texts; each reads on after the name of a field. A message that a schema has
 * itself comes first. For `schema.safeParse(value, { error: inOwnWords })`.
 */
export const inOwnWords: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'is required'
        : `must be ${TYPES[issue.expected] ?? `of type ${issue.expected}`}`;
    case 'invalid_value':
      if (issue.input === undefined) return 'is required';
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return bound(issue.origin, Number(issue.minimum), issue.inclusive === false ? 'above' : 'at least');
    case 'too_big':
      return bound(issue.origin, Number(issue.maximum), issue.inclusive === false ? 'below' : 'at most');
    case 'invalid_format':
      return FORMATS[issue.format] ?? 'is not written as it must be';
    case 'unrecognized_keys':
      return `has what is not known: ${issue.keys.map((key) => `"${key}"`).join(', ')}`;
    case 'invalid_key':
      return issue.issues[0]?.message;
    case 'invalid_union':
      return 'has none of the forms that it may have';
    // No schema of the suite gives rise to these without a message of its own.
    case 'custom':
    case 'invalid_element':
    case 'not_multiple_of':
      return undefined;
    default:
      return issue satisfies never;
  }
};

const COUNTED: Readonly<Record<string, string>> = { string: 'character', array: 'item' };

function bound(origin: string, limit: number, relation: string): string {
  const counted = COUNTED[origin];
  if (counted === undefined) return `must be ${relation} ${limit}`;
  if (relation === 'at least' && limit === 1) return 'must not be empty';
  return `must have ${relation} ${limit} ${counted}${limit === 1 ? '' : 's'}`;
}
