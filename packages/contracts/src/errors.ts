/**
 * Every error a client or an operator can meet: `code → { status, retryable, title }`.
 *
 * `status` is the HTTP status of a problem document (RFC 9457) with this code; `retryable` says that the same request
 * may succeed later without a change. docs/errors.md lists exactly these codes (a test compares them).
 */
export const ERRORS = {
  // The request itself
  invalid_json: { status: 400, retryable: false, title: 'The body is not valid JSON' },
  invalid_request: { status: 400, retryable: false, title: 'The request has invalid fields' },
  input_too_long: { status: 400, retryable: false, title: 'The input has more tokens than the model takes' },
  unauthenticated: { status: 401, retryable: false, title: 'A valid API key is required' },
  forbidden: { status: 403, retryable: false, title: 'This API key may not do that' },
  not_found: { status: 404, retryable: false, title: 'No such resource' },
  job_not_found: { status: 404, retryable: false, title: 'No such job' },
  model_not_found: { status: 404, retryable: false, title: 'No such model' },
  tenant_not_found: { status: 404, retryable: false, title: 'No such tenant' },
  dead_letter_not_found: { status: 404, retryable: false, title: 'No such dead letter' },
  method_not_allowed: { status: 405, retryable: false, title: 'The resource does not support this method' },
  request_timeout: { status: 408, retryable: true, title: 'The request did not arrive in time' },
  job_ended: { status: 409, retryable: false, title: 'The job has ended already' },
  not_replayable: { status: 409, retryable: false, title: 'The dead letter cannot be replayed' },
  payload_too_large: { status: 413, retryable: false, title: 'The body is too large' },
  unsupported_media_type: { status: 415, retryable: false, title: 'The body must be application/json' },
  idempotency_key_reused: { status: 422, retryable: false, title: 'The Idempotency-Key belongs to another request' },
  headers_too_large: { status: 431, retryable: false, title: 'The request headers are too large' },

  // Admission
  rate_limited: { status: 429, retryable: true, title: 'A rate limit is exhausted' },
  quota_exceeded: { status: 429, retryable: true, title: 'A quota is exhausted' },
  budget_exceeded: { status: 429, retryable: true, title: 'A budget is exhausted' },
  concurrency_limited: { status: 429, retryable: true, title: 'Too much is in flight' },
  exceeds_limit: { status: 400, retryable: false, title: 'The request is larger than a limit ever allows' },

  // The suite
  internal: { status: 500, retryable: true, title: 'Something went wrong on our side' },
  quota_unavailable: { status: 503, retryable: true, title: 'Quota cannot be checked now' },
  broker_unavailable: { status: 503, retryable: true, title: 'Jobs cannot be queued now' },
  publish_unconfirmed: { status: 503, retryable: true, title: 'The job may or may not have been queued' },
  store_unavailable: { status: 503, retryable: true, title: 'Records cannot be read now' },

  // Why a job failed; these appear in the `error` of a job, and their status is what a synchronous caller is told
  inference_failed: { status: 500, retryable: false, title: 'The model could not process the input' },
  inference_crashed: { status: 500, retryable: false, title: 'The input could not be run to its end' },
  inference_timeout: { status: 504, retryable: false, title: 'Inference took longer than allowed' },
  model_unavailable: { status: 503, retryable: true, title: 'No worker could run the model' },
  attempts_exhausted: { status: 500, retryable: false, title: 'The job failed at every attempt' },
  malformed_message: { status: 500, retryable: false, title: 'The queued message could not be read' },
  unroutable: { status: 503, retryable: true, title: 'No queue exists for the pool and class of the job' },
  expired: { status: 504, retryable: true, title: 'The job did not finish before its deadline' },
} as const satisfies Record<string, ErrorFacts>;

/** What the table says of one code. */
export interface ErrorFacts {
  /** HTTP status, 400–599. */
  readonly status: number;
  /** True when the same request may succeed later without a change. */
  readonly retryable: boolean;
  /** One line for people; the same for every occurrence (RFC 9457 `title`). */
  readonly title: string;
}

export type ErrorCode = keyof typeof ERRORS;

/** One invalid part of a request: `field` is a path like `metadata.team` or a header's name. */
export interface FieldError {
  readonly field: string;
  readonly reason: string;
}

export interface ServiceErrorOptions {
  readonly cause?: unknown;
  /** Which parts of the request are wrong. */
  readonly fields?: readonly FieldError[];
  /** Further members of the problem document, for example the limit that refused. Visible to clients. */
  readonly extensions?: Readonly<Record<string, unknown>>;
  /** When to try again, in seconds; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number;
  /** Further HTTP headers of the answer. */
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * The one error class. `detail` is shown to clients: it must not hold a stack, a query or a host name; those belong
 * in `cause`, which is logged and never sent.
 */
export class ServiceError extends Error {
  /** Recognises the class across duplicate copies of this package. */
  readonly isServiceError = true;
  readonly code: ErrorCode;
  readonly fields: readonly FieldError[];
  readonly extensions: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, detail: string, options: ServiceErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ServiceError';
    this.code = code;
    this.fields = options.fields ?? [];
    this.extensions = options.extensions ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.headers = options.headers ?? {};
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

export function isServiceError(error: unknown): error is ServiceError {
  return typeof error === 'object' && error !== null && 'isServiceError' in error && error.isServiceError === true;
}

/** RFC 9457 problem document, media type `application/problem+json`. */
export interface Problem {
  /** `urn:sluice:error:<code>`: stable, and not a promise that a page exists. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly errors?: readonly FieldError[];
  readonly [extension: string]: unknown;
}

/** Maps any thrown value to what a client may see; what is not a `ServiceError` is `internal` and says nothing more. */
export function toProblem(error: unknown): Problem {
  const known = isServiceError(error) ? error : new ServiceError('internal', 'The error was logged.', { cause: error });
  const { status, retryable, title } = ERRORS[known.code];
  return {
    type: `urn:sluice:error:${known.code}`,
    title,
    status,
    detail: known.message,
    code: known.code,
    retryable,
    ...(known.fields.length > 0 && { errors: known.fields }),
    ...known.extensions,
  };
}
