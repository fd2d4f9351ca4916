import {
  type LimitChanges,
  limitChangesSchema,
  type Overrides,
  overridesSchema,
  ServiceError,
} from '@sluice/contracts';

type Schema = typeof overridesSchema | typeof limitChangesSchema;

/**
 * Overrides and key limits are stored as the operator wrote them and parsed when they are used, so that what is shown and
 * changed later is what was written.
 *
 * What no longer parses (it was changed by hand, or a newer program made the rules stricter) must neither lift a limit nor
 * pass for a wrong key: `unreadable` is a 503 that the log explains, and the admin API still shows and replaces the value.
 */
export function readOverrides(stored: unknown, tenantId: string): Overrides {
  const { success, data, error } = overridesSchema.safeParse(stored);
  if (success) return data;
  throw unreadable(`The overrides of tenant "${tenantId}" cannot be read.`, error);
}

/** The limits of an API key; see `readOverrides`. */
export function readKeyLimits(stored: unknown, apiKeyId: string): LimitChanges {
  const { success, data, error } = limitChangesSchema.safeParse(stored);
  if (success) return data;
  throw unreadable(`The limits of API key ${apiKeyId} cannot be read.`, error);
}

function unreadable(detail: string, cause: unknown): ServiceError {
  return new ServiceError('quota_unavailable', detail, { cause });
}

/**
 * Refuses overrides or key limits that could not be read again.
 *
 * @throws ServiceError `invalid_request` naming each wrong field.
 */
export function requireReadable(schema: Schema, field: 'overrides' | 'limits', value: unknown): void {
  const { error } = schema.safeParse(value);
  if (error === undefined) return;
  const fields = error.issues.map(({ path, message }) => ({ field: [field, ...path].join('.'), reason: message }));
  throw new ServiceError('invalid_request', `The ${field} cannot be stored.`, { fields, cause: error });
}
