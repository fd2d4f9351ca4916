import { definitionsOf, scopesOf } from './definitions.js';
import type { Reservation } from './quota.js';
import { checkAmounts, checkCount, checkText } from './values.js';

/** Throws a RangeError for what cannot be kept. */
export function checkReservation(reservation: Reservation): void {
  const { jobId, owner, apiKeyId, model, amounts, holdTtlMs, acceptedAtMs, idempotency, quantile } = reservation;
  checkText('jobId', jobId);
  checkText('owner', owner);
  checkText('apiKeyId', apiKeyId);
  checkText('model', model);
  checkAmounts(amounts);
  checkCount('holdTtlMs', holdTtlMs);
  if (acceptedAtMs !== undefined) checkCount('acceptedAtMs', acceptedAtMs);
  scopesOf(reservation.scopes, reservation).forEach(definitionsOf);
  if (quantile !== undefined && !(quantile > 0 && quantile < 1))
    throw new RangeError('quantile must be within 0 and 1');
  if (!idempotency) return;
  checkText('keyHash', idempotency.keyHash);
  checkCount('ttlMs', idempotency.ttlMs);
}
