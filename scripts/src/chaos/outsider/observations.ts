/** Where and how a submission was sent. */
export type Via = 'http' | 'amqp';

/**
 * Why a submission was sent. `first`: it is new. `repeat`: again with the same key, after its job was told. `conflict`:
 * another body under a key that has a job. `invalid`: must be refused.
 */
export type Purpose = 'first' | 'repeat' | 'conflict' | 'invalid';

interface At {
  /** The observer's clock, Unix milliseconds. */
  readonly atMs: number;
}

/** One attempt to submit leaves the client. Attempts of one request have the same body and, if any, the same key. */
export interface Sent extends At {
  readonly kind: 'sent';
  /** Unique for each body; it is in the job's metadata as `request`. */
  readonly request: string;
  /** From 1. */
  readonly attempt: number;
  readonly purpose: Purpose;
  readonly via: Via;
  readonly tenantId: string;
  readonly apiKeyId: string;
  /** Of AMQP, the message id. */
  readonly idempotencyKey?: string;
  readonly model: string;
  /** SHA-256 of model and texts, hex: equal inputs have the same. */
  readonly inputHash: string;
  /** SHA-256 of the whole body, hex. */
  readonly bodyHash: string;
  /** The gateway it was sent to; absent for AMQP. */
  readonly url?: string;
}

/**
 * What came of an attempt. `accepted`: 202, or an accepted reply. `refused`: an answer that promises that this attempt made no
 * job, or nothing ever left. `unknown`: it may have made one.
 */
export interface Answered extends At {
  readonly kind: 'answered';
  readonly request: string;
  readonly attempt: number;
  readonly outcome: 'accepted' | 'refused' | 'unknown';
  /** HTTP status; absent when there was no answer. */
  readonly status?: number;
  /** Of the problem document, or of the broken connection. */
  readonly code?: string;
  readonly jobId?: string;
}

/** A job as an answer showed it. Only terminal states are noted, and anything that is said after one. */
export interface Seen extends At {
  readonly kind: 'seen';
  /** When the question left. An answer may tell what was so at any time since. */
  readonly askedAtMs: number;
  readonly jobId: string;
  readonly tenantId: string;
  readonly by: 'submit' | 'poll' | 'long-poll' | 'cancel' | 'final';
  /** `missing` is a 404. */
  readonly state: string;
  readonly usage?: { readonly inputTokens: number; readonly outputTokens: number; readonly cachedTokens: number };
  readonly amountNanoUsd?: string;
  readonly errorCode?: string;
  /** SHA-256 of the output as it was told, hex; absent where there was none. */
  readonly outputHash?: string;
  /** Largest difference to the first output that was seen of an equal input; absent for that one. Infinity for another form. */
  readonly distance?: number;
}

/** An answer to `DELETE /v1/jobs/:id`. */
export interface Canceled extends At {
  readonly kind: 'canceled';
  readonly askedAtMs: number;
  readonly jobId: string;
  readonly tenantId: string;
  /** Absent when the answer was lost. */
  readonly status?: number;
  readonly state?: string;
  readonly code?: string;
}

/** A limit as `GET /v1/quota` shows it; money in nano-USD. */
export interface ShownLimit {
  readonly name: string;
  readonly scope: 'tenant' | 'apiKey' | 'model';
  /** The API key's id or the model; absent for the tenant. */
  readonly subject?: string;
  readonly kind: 'rate' | 'quota' | 'inFlight';
  readonly unit: 'requests' | 'tokens' | 'nanoUsd';
  readonly soft: boolean;
  readonly max: number;
  readonly used: number;
  readonly held: number;
  readonly overage: number;
}

/** An answer to `GET /v1/quota`. */
export interface QuotaSample extends At {
  readonly kind: 'quota';
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly limits: readonly ShownLimit[];
}

/** What a client noted, in the order in which it did. Nothing is ever changed or taken back. */
export type Observation = Sent | Answered | Seen | Canceled | QuotaSample;

/** Everything that the clients of one run saw. */
export interface Observations {
  readonly seed: number;
  readonly events: readonly Observation[];
}
