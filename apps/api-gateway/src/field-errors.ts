import { inOwnWords, ServiceError, type FieldError } from '@sluice/contracts';
import type { z } from 'zod';

const MAX_REPORTED = 20;
const MAX_REASON = 300;
const WORDS = { error: inOwnWords };

/** Validates a value; on failure throws `invalid_request` naming every wrong field. */
export function validate<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value, WORDS);
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
  return [{ field: path.join('.').slice(0, 200) || 'body', reason: issue.message.slice(0, MAX_REASON) }];
}
