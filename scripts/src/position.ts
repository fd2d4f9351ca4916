import { setTimeout as sleep } from 'node:timers/promises';
import { limitName } from '@sluice/contracts';

/** `GET /v1/quota`, as far as it is used here. */
export interface QuotaAnswer {
  readonly limits: readonly {
    readonly name: string;
    readonly kind: string;
    readonly max: number;
    readonly used: number;
    readonly held: number;
    readonly remaining: number;
  }[];
}

/** What a tenant has used, by Redis and by PostgreSQL. */
export interface Position {
  readonly quota: QuotaAnswer;
  /** Tokens the tenant was ever billed for. */
  readonly ledgerTokens: number;
}

export interface PositionSource {
  readonly quota: () => Promise<QuotaAnswer>;
  readonly ledgerTokens: () => Promise<number>;
}

export interface PositionOptions {
  /** Tokens that may stay held; default 0. */
  readonly heldAtMost?: number;
  /** How long to wait for more than that to be settled, in milliseconds. */
  readonly patienceMs: number;
  /** Told once, with the tokens held, when there is something to wait for. */
  readonly onWait?: (held: number) => void;
}

const POLL_MS = 100;
const TOKENS_PER_MONTH = limitName('tenant', 'tokensPerMonth');

/**
 * A tenant's position at a moment at which quota and ledger must agree: no job is open, and none was billed between the
 * two readings. When `patienceMs` is over it is whatever was read last.
 */
export async function settledPosition(source: PositionSource, options: PositionOptions): Promise<Position> {
  const { heldAtMost = 0, patienceMs, onWait } = options;
  const until = performance.now() + patienceMs;
  for (let told = false; ;) {
    const ledgerBefore = await source.ledgerTokens();
    const quota = await source.quota();
    const ledgerTokens = await source.ledgerTokens();
    const held = heldTokens(quota);
    const settled = held <= heldAtMost && ledgerBefore === ledgerTokens;
    if (settled || performance.now() >= until) return { quota, ledgerTokens };
    if (!told && held > heldAtMost) onWait?.(held);
    told ||= held > heldAtMost;
    await sleep(POLL_MS);
  }
}

export function monthlyLimit(quota: QuotaAnswer): QuotaAnswer['limits'][number] | undefined {
  return quota.limits.find(({ name }) => name === TOKENS_PER_MONTH);
}

/** Tokens reserved for jobs that are not settled yet. */
export function heldTokens(quota: QuotaAnswer): number {
  return monthlyLimit(quota)?.held ?? 0;
}
