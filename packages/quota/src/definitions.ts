import { createHash } from 'node:crypto';
import type { Limit, ScopedLimits } from './limits.js';
import { LARGEST_MAX } from './limits.js';
import { isPeriodId, periodNumber } from './periods.js';
import { codeOf } from './scope-state.js';

/** Limits as the scripts read them, see lua/definitions.lua. */
export interface Definitions {
  /** Differs whenever something differs but a period: 52 bits of a digest, 0 when there are no limits. */
  readonly version: number;
  readonly json: string;
}

const NONE: Definitions = { version: 0, json: '[]' };
const MOST_LIMITS = 32;
const encoded = new WeakMap<readonly Limit[], Definitions>();

/** Encodes limits; kept per array. Throws a RangeError when one cannot be kept exactly or two have the same name. */
export function definitionsOf(limits: readonly Limit[]): Definitions {
  const known = encoded.get(limits);
  if (known) return known;
  checkLimits(limits);
  const definitions =
    limits.length === 0 ? NONE : { version: versionOf(limits), json: JSON.stringify(limits.map(row)) };
  encoded.set(limits, definitions);
  return definitions;
}

/** The three scopes of a job, in the order in which the scripts have them; those without limits are empty. */
export function scopesOf(
  scopes: readonly ScopedLimits[],
  { apiKeyId, model }: { readonly apiKeyId: string; readonly model: string },
): readonly [tenant: readonly Limit[], apiKey: readonly Limit[], model: readonly Limit[]] {
  let [tenant, key, ofModel]: (readonly Limit[])[] = [NO_LIMITS, NO_LIMITS, NO_LIMITS];
  for (const { scope, subject, limits } of scopes) {
    if (scope === 'tenant' && subject === '' && tenant === NO_LIMITS) tenant = limits;
    else if (scope === 'apiKey' && subject === apiKeyId && key === NO_LIMITS) key = limits;
    else if (scope === 'model' && subject === model && ofModel === NO_LIMITS) ofModel = limits;
    else throw new RangeError(`limits of ${scope} "${subject}" are not the job's, or named twice`);
  }
  return [tenant ?? NO_LIMITS, key ?? NO_LIMITS, ofModel ?? NO_LIMITS];
}

const NO_LIMITS: readonly Limit[] = Object.freeze([]);

/** What may be taken at most: infinite where the limit is soft. */
export function ceilingOf({ max, soft }: Limit): number {
  return soft ? Infinity : max;
}

function row(limit: Limit): readonly (string | number | undefined)[] {
  const { name, kind, unit, max, windowMs, period: p, soft } = limit;
  const facts = [name, codeOf(kind, unit), soft ? -1 : max];
  if (kind === 'rate') return [...facts, max, windowMs];
  if (!p) return facts;
  return [...facts, periodNumber(p.id), p.startsAtMs, p.endsAtMs, periodNumber(p.nextId), p.nextEndsAtMs];
}

function versionOf(limits: readonly Limit[]): number {
  const facts = limits.map(({ name, kind, unit, max, windowMs, soft }) => [name, kind, unit, max, windowMs, !!soft]);
  const digest = createHash('sha256').update(JSON.stringify(facts)).digest();
  return Math.max(1, Number(digest.readBigUInt64LE() >> 12n));
}

function checkLimits(limits: readonly Limit[]): void {
  if (limits.length > MOST_LIMITS) throw new RangeError(`a subject may have ${MOST_LIMITS} limits at most`);
  if (new Set(limits.map(({ name }) => name)).size < limits.length) throw new RangeError('two limits have one name');
  limits.forEach(checkLimit);
}

function checkLimit({ name, kind, max, windowMs, period }: Limit): void {
  const wrong = (reason: string) => new RangeError(`limit "${name}" ${reason}`);
  if (!/^\S+$/.test(name)) throw wrong('must have a name without spaces');
  if (!Number.isInteger(max) || max < 1 || max > LARGEST_MAX)
    throw wrong(`must have a whole maximum, 1 … ${LARGEST_MAX}`);
  if ((kind === 'rate') !== (windowMs !== undefined)) throw wrong('must have a window if and only if it is a rate');
  if ((kind === 'quota') !== (period !== undefined)) throw wrong('must have a period if and only if it is a quota');
  if (windowMs !== undefined) {
    if (!Number.isSafeInteger(windowMs) || windowMs < 1) throw wrong('must have a window of whole ms');
    if (!Number.isSafeInteger(max * windowMs)) throw wrong('is too large: max × windowMs must be below 2^53');
  }
  if (!period) return;
  if (!isPeriodId(period.id) || !isPeriodId(period.nextId)) throw wrong('has a period id that is no day or month');
  if (period.id === period.nextId) throw wrong('has two periods of one id');
  if (period.startsAtMs >= period.endsAtMs || period.endsAtMs >= period.nextEndsAtMs) throw wrong('has no period');
}
