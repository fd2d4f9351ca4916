import type { AcceptedFact, CompletedFact } from './facts.js';
import { storableJson, storableText } from './storable.js';

/**
 * The values of `record-facts.sql`: each a PostgreSQL array literal with one element for a fact. Written by hand
 * rather than by the driver, which escapes ids and numbers that need no escaping.
 */
export function factArrays(accepted: readonly AcceptedFact[], completed: readonly CompletedFact[]): readonly string[] {
  return [
    plain(accepted, (fact) => fact.jobId),
    quoted(accepted, (fact) => storableText(fact.tenantId)),
    plain(accepted, (fact) => fact.apiKeyId),
    quoted(accepted, (fact) => storableText(fact.model)),
    quoted(accepted, (fact) => fact.class),
    plain(accepted, (fact) => fact.inputTokens),
    plain(accepted, (fact) => fact.maxOutputTokens),
    plain(accepted, (fact) => fact.reservedTokens),
    plain(accepted, (fact) => fact.expiresAtMs),
    quoted(accepted, (fact) => json(fact.metadata)),
    plain(accepted, (fact) => fact.reservedNanoUsd ?? 0),
    quoted(accepted, (fact) => fact.idempotency && storableText(fact.idempotency.keyHash)),
    quoted(accepted, (fact) => fact.idempotency && storableText(fact.idempotency.fingerprint)),
    plain(accepted, (fact) => fact.replay?.of),
    plain(accepted, (fact) => fact.replay?.epoch ?? 0),

    plain(completed, (fact) => fact.jobId),
    quoted(completed, (fact) => storableText(fact.tenantId)),
    plain(completed, (fact) => fact.apiKeyId),
    quoted(completed, (fact) => storableText(fact.model)),
    quoted(completed, (fact) => fact.state),
    plain(completed, (fact) => fact.usage.inputTokens),
    plain(completed, (fact) => fact.usage.outputTokens),
    plain(completed, (fact) => fact.usage.cachedTokens),
    plain(completed, (fact) => fact.attempt),
    plain(completed, (fact) => fact.startedAtMs),
    plain(completed, (fact) => fact.finishedAtMs),
    quoted(completed, (fact) => fact.modelVersion && storableText(fact.modelVersion)),
    quoted(completed, (fact) => json(fact.error)),
    quoted(completed, (fact) => json(fact.output)),
    plain(completed, (fact) => fact.reservedTokens),
    plain(completed, (fact) => fact.reservedNanoUsd),
  ];
}

function json(value: unknown): string | undefined {
  return value === undefined ? undefined : storableJson(value);
}

/** For values of letters, digits and hyphens. */
function plain<T>(facts: readonly T[], value: (fact: T) => string | number | undefined): string {
  return `{${facts.map((fact) => value(fact) ?? 'NULL').join(',')}}`;
}

function quoted<T>(facts: readonly T[], value: (fact: T) => string | undefined): string {
  return `{${facts.map((fact) => quote(value(fact))).join(',')}}`;
}

function quote(text: string | undefined): string {
  return text === undefined ? 'NULL' : `"${text.replace(/["\\]/g, '\\$&')}"`;
}
