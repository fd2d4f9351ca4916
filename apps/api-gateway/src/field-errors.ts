import { ServiceError, type FieldError } from '@sluice/contracts';
import type { z } from 'zod';

const MAX_REPORTED = 20;

/** Validates a value; on failure throws `invalid_request` naming every wrong field. */
export function validate<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalidRequest(parsed.error.issues.flatMap(fieldErrors));
}

/** `invalid_request` for these fields; at most the first 20 are listed, all are counted. */
export function invalidRequest(fields: readonly FieldError[]): ServiceError {
  const [first] = fields;
  const rest = fields.length > 1 ? ` (and ${fields.length - 1} more)` : '';
  return new ServiceError('invalid_request', `${first?.field ?? 'body'} ${first?.reason ?? 'is invalid'}${rest}.`, {
    fields: fields.slice(0, MAX_REPORTED),
  });
}

function fieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: [...path, key].join('.').slice(0, 200), reason: 'is not a known field' }));
  }
  return [{ field: path.join('.').slice(0, 200) || 'body', reason: reasonOf(issue) }];
}

function reasonOf(issue: z.core.$ZodIssue): string {
  // n.b. zod says "Invalid input: expected string, received undefined"; a field's own message has no such prefix.
  if (issue.message.endsWith('received undefined')) return 'is required';
  return issue.message.replace(/^Invalid (input|option): /, '').slice(0, 300);
}
