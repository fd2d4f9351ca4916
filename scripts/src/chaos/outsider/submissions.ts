import { randomUUID } from 'node:crypto';
import { sha256, type Inputs, type ModelInput } from './inputs.js';
import type { Purpose, Sent } from './observations.js';
import type { Random } from '../random.js';
import type { Client, Tenants } from './tenants.js';

/** What one client asks for. */
export interface Submission {
  readonly client: Client;
  readonly request: string;
  readonly purpose: Purpose;
  readonly input: Pick<ModelInput, 'model' | 'hash'>;
  readonly body: Readonly<Record<string, unknown>>;
  readonly bodyHash: string;
  readonly idempotencyKey?: string;
  /** What the client does once it has the job. */
  readonly then: {
    /** Sends it again under its key. */
    readonly repeat: boolean;
    /** Sends something else under its key. */
    readonly conflict: boolean;
    /** After how many milliseconds it cancels; never when absent. */
    readonly cancelAfterMs?: number;
  };
}

const KEYED = 0.5;
const REPEATED = 0.15;
const CONFLICTING = 0.08;
const CANCELED = 0.12;
const CANCELED_WITHIN_MS = 1_500;
const HURRIED = 0.04;
const INVALID = 0.03;
const CLASSES = ['interactive', 'standard', 'batch'] as const;
const NOTHING_THEN = { repeat: false, conflict: false } as const;

/** Draws what is submitted next, and by whom. */
export function drawSubmission(random: Random, { clients }: Tenants, inputs: Inputs): Submission {
  const client = random.pick(clients, ({ weight }) => weight);
  const input = inputs.draw(random);
  if (client.via === 'http' && random.next() < INVALID) return invalid(random, client, input);
  const keyed = client.via === 'amqp' || random.next() < KEYED;
  // Most jobs end within milliseconds: half of the cancellations follow at once.
  const cancelAfterMs = Math.max(0, random.between(-CANCELED_WITHIN_MS, CANCELED_WITHIN_MS));
  const cancels = client.fickle && random.next() < CANCELED;
  const hurried = client.fickle && random.next() < HURRIED;
  const fields = { class: random.pick(CLASSES), ...(hurried && { expiresIn: random.between(1, 3) }) };
  const then = {
    repeat: keyed && random.next() < REPEATED,
    conflict: keyed && random.next() < CONFLICTING,
    ...(cancels && { cancelAfterMs }),
  };
  return { ...create(client, 'first', input, fields), then, ...(keyed && { idempotencyKey: randomUUID() }) };
}

/** Another submission under the key of one that has its job. */
export function conflicting({ client, input, idempotencyKey }: Submission): Submission {
  const other = { model: input.model, input: 'something else', hash: sha256('something else') };
  return { ...create(client, 'conflict', other, {}), ...(idempotencyKey !== undefined && { idempotencyKey }) };
}

function create(
  client: Client,
  purpose: Purpose,
  { model, input, hash }: Omit<ModelInput, 'estimatedTokens'>,
  fields: object,
): Submission {
  // n.b. in the metadata, which is recorded with the job: so each job leads to the request that made it.
  const request = randomUUID();
  const body = { model, input, ...fields, metadata: { request } };
  const bodyHash = sha256(JSON.stringify(body));
  return { client, request, purpose, input: { model, hash }, body, bodyHash, then: NOTHING_THEN };
}

function invalid(random: Random, client: Client, input: ModelInput): Submission {
  const { input: _input, ...withoutInput } = create(client, 'invalid', input, {}).body;
  const body = random.pick([
    { ...withoutInput, input: '' },
    { ...withoutInput, input: [] },
    { ...withoutInput, input: 'text', model: 'no-such-model' },
    { ...withoutInput, input: 'text', surprise: true },
    { ...withoutInput, input: 'text', expiresIn: 0 },
    { ...withoutInput, input: 'too long '.repeat(4_000) },
  ]);
  return { ...create(client, 'invalid', input, {}), body };
}

/** What is noted when an attempt leaves. */
export function sentNote(submission: Submission, attempt: number, url?: string): Omit<Sent, 'atMs'> {
  const { client, request, purpose, input, bodyHash, idempotencyKey } = submission;
  return {
    ...{ kind: 'sent', request, attempt, purpose, via: client.via, bodyHash },
    ...{ tenantId: client.tenantId, apiKeyId: client.apiKeyId, model: input.model, inputHash: input.hash },
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(url !== undefined && { url }),
  };
}
