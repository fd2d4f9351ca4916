import { MAX_INPUT_TOKENS, MODEL_NAMES, POISON } from '../apps/models.js';
import type { Random } from '../../kernel/index.js';
import type { SimApiKey, SimTenant } from './tenants.js';

/** What one client wants, and how it goes about it. */
export interface SimRequest {
  /** Names it; part of the text and of the metadata, so that every job leads back to its request. */
  readonly tag: string;
  readonly atMs: number;
  readonly tenant: SimTenant;
  readonly apiKey: SimApiKey;
  readonly model: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** The Idempotency-Key; undefined: it sends none. */
  readonly key: string | undefined;
  /** When the same is sent once more, in milliseconds after the first, whatever has come of that. */
  readonly twinsAfterMs: readonly number[];
  /** Another body is sent under the same key, so long after. */
  readonly otherBodyAfterMs: number | undefined;
  /** How often an answer that leaves hope is followed by another attempt. */
  readonly retries: number;
  readonly polls: boolean;
  /** Cancels so long after the 202. */
  readonly cancelsAfterMs: number | undefined;
}

const SHORT_TTL_S = 3;

export interface RequestOptions {
  readonly tenants: readonly SimTenant[];
  /** Most requests come in bursts, shortly after one of these moments (milliseconds). */
  readonly burstsAtMs: readonly number[];
  readonly count: number;
}

const BURST_MS = 400;

export function drawRequests(random: Random, options: RequestOptions): readonly SimRequest[] {
  return Array.from({ length: options.count }, (_, index) => drawRequest(random, options, `r${index}`));
}

function drawRequest(random: Random, { tenants, burstsAtMs }: RequestOptions, tag: string): SimRequest {
  const tenant = random.pick(tenants);
  const model = random.pick(MODEL_NAMES);
  const text = `${random.chance(0.03) ? POISON : ''}${tag} ${'x'.repeat(random.int(MAX_INPUT_TOKENS / 2))}`;
  const key = random.chance(0.65) ? `key of ${tag}`.replaceAll(' ', '-') : undefined;
  const maybe = <T>(chance: number, value: () => T): T | undefined => (random.chance(chance) ? value() : undefined);
  const expiresIn = maybe(0.1, () => SHORT_TTL_S);
  const twins = key === undefined ? 0 : random.pick([0, 0, 0, 1, 2]);
  return {
    ...{ tag, tenant, model, text, key },
    atMs: random.pick(burstsAtMs) + random.between(0, random.pick([5, BURST_MS, 4 * BURST_MS])),
    apiKey: random.pick(tenant.apiKeys),
    body: {
      ...{ model, input: text, metadata: { request: tag } },
      class: random.pick(['interactive', 'standard']),
      ...(expiresIn !== undefined && { expiresIn }),
    },
    twinsAfterMs: Array.from({ length: twins }, () => random.between(0, random.pick([5, 200, 8_000]))),
    otherBodyAfterMs: key === undefined ? undefined : maybe(0.1, () => random.between(0, 5_000)),
    retries: random.pick([0, 2, 5]),
    polls: random.chance(0.4),
    cancelsAfterMs: maybe(0.2, () => random.between(0, random.pick([20, 300, 5_000]))),
  };
}
