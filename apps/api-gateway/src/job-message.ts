import {
  inputTexts,
  isTensorInput,
  jobIdTimeMs,
  ServiceError,
  type AcceptedMessage,
  type TensorInput,
  type TensorModelFile,
  type TextInput,
} from '@sluice/contracts';
import { leastOutputTokens, misfits, tensorTokens } from '@sluice/models';
import type { Principal } from '@sluice/store';
import type { PublicModel } from './catalogue.js';
import { invalidRequest } from './field-errors.js';
import type { JobClock } from './job-clock.js';
import type { LearnedEstimates } from './learned-estimates.js';
import type { PriceBook } from './price-book.js';
import type { Submission } from './submission.js';
import type { TenantLimits } from './tenant-limits.js';

export interface JobMessageOptions {
  readonly clock: Pick<JobClock, 'newJobId'>;
  readonly prices: Pick<PriceBook, 'ready' | 'amountNanoUsd'>;
  readonly estimates: Pick<LearnedEstimates, 'outputTokens'>;
  readonly tenantLimits: Pick<TenantLimits, 'estimateOf' | 'hasBudget'>;
  /** From acceptance to deadline, unless the submission says less. */
  readonly jobTtlMs: number;
}

/** A submission that was checked against its model and whose tokens were counted. */
export interface CountedSubmission {
  readonly principal: Principal;
  readonly submission: Submission;
  readonly model: PublicModel;
  readonly inputTokens: number;
  /** The most that the job can produce, over all its texts or tensors. */
  readonly maxOutputTokens: number;
}

/** Makes the message of a job that is accepted now. */
export type JobMessages = (counted: CountedSubmission) => AcceptedMessage;

/**
 * Counts the tokens of a submission.
 *
 * @throws ServiceError `input_too_long` or `invalid_request`, naming the text, the tensor, the class or the cap on the outputs.
 */
export function countSubmission(principal: Principal, submission: Submission, model: PublicModel): CountedSubmission {
  if (!model.classes.includes(submission.class)) {
    throw invalidRequest([{ field: 'class', reason: `the model serves ${model.classes.join(', ')}` }]);
  }
  const { input } = submission;
  const { facts } = model;
  const each = Math.min(submission.maxOutputTokens ?? facts.maxOutputTokens, facts.maxOutputTokens);
  if (isTensorInput(input)) {
    const inputTokens = countTensors(input, model);
    if (facts.task === 'tensors') requireRoom(each, facts, model.name);
    return { principal, submission, model, inputTokens, maxOutputTokens: each };
  }
  const maxOutputTokens = each * inputTexts(input).length;
  return { principal, submission, model, inputTokens: countTexts(input, model), maxOutputTokens };
}

/**
 * Makes the messages of jobs that are accepted now: id, deadline, and what is held for them. The time of the id is the
 * job's one time: its period, its price and its deadline follow from it.
 *
 * @throws ServiceError `quota_unavailable` while a budget applies and no price is known, `exceeds_limit`.
 */
export function createJobMessages(options: JobMessageOptions): JobMessages {
  const { clock, prices, estimates, tenantLimits, jobTtlMs } = options;
  return function messageOf(counted) {
    const { principal, submission, model, inputTokens, maxOutputTokens } = counted;
    const { tenantId } = principal;
    if (!prices.ready && tenantLimits.hasBudget(principal, model.name)) {
      throw new ServiceError('quota_unavailable', 'Prices cannot be read yet.', { retryAfterSeconds: 1 });
    }
    const estimate = tenantLimits.estimateOf(principal);
    const outputTokens = estimates.outputTokens({ tenantId, model: model.name, estimate, maxOutputTokens });
    const jobId = clock.newJobId();
    const atMs = jobIdTimeMs(jobId);
    return {
      jobId,
      tenantId,
      apiKeyId: principal.apiKeyId,
      model: model.name,
      class: submission.class,
      input: submission.input,
      inputTokens,
      maxOutputTokens,
      reservedTokens: inputTokens + outputTokens,
      ...(prices.ready && {
        reservedNanoUsd: prices.amountNanoUsd({ model: model.name, inputTokens, outputTokens, atMs }),
      }),
      expiresAtMs: atMs + (submission.expiresIn === undefined ? jobTtlMs : submission.expiresIn * 1000),
      ...(submission.metadata && { metadata: submission.metadata }),
    };
  };
}

/** @throws ServiceError `input_too_long` or `invalid_request`, naming the text. */
function countTexts(input: TextInput, { name, facts, tokenizer }: PublicModel): number {
  if (!tokenizer)
    throw invalidRequest([{ field: 'input', reason: `must be absent: ${name} takes tensors, in inputs` }]);
  return inputTexts(input).reduce((total, text, index) => {
    const field = typeof input === 'string' ? 'input' : `input.${index}`;
    const tokens = tokenizer.count(text);
    if (tokens === 0) throw invalidRequest([{ field, reason: 'has no tokens' }]);
    requireShort({ field, verb: 'has', tokens, name, maxInputTokens: facts.maxInputTokens });
    return total + tokens;
  }, 0);
}

/** @throws ServiceError `input_too_long` or `invalid_request`, naming the tensor. */
function countTensors({ tensors }: TensorInput, { name, facts }: PublicModel): number {
  if (facts.task !== 'tensors') {
    throw invalidRequest([{ field: 'inputs', reason: `must be absent: ${name} takes texts, in input` }]);
  }
  const wrong = misfits(facts, tensors);
  if (wrong.length > 0) throw invalidRequest(wrong);
  const tokens = tensorTokens(facts, tensors);
  requireShort({ field: 'inputs', verb: 'have', tokens, name, maxInputTokens: facts.maxInputTokens });
  return tokens;
}

/** A job whose outputs can never be as few as it asks for would run for nothing. */
function requireRoom(maxOutputTokens: number, facts: TensorModelFile, name: string): void {
  const least = leastOutputTokens(facts);
  if (facts.maxOutputTokens === 0 || maxOutputTokens >= least) return;
  throw invalidRequest([{ field: 'maxOutputTokens', reason: `must be at least ${least}: ${name} never gives less` }]);
}

interface Counted {
  readonly field: string;
  readonly verb: 'has' | 'have';
  readonly tokens: number;
  /** Of the model. */
  readonly name: string;
  readonly maxInputTokens: number;
}

function requireShort({ field, verb, tokens, name, maxInputTokens }: Counted): void {
  if (tokens <= maxInputTokens) return;
  throw new ServiceError('input_too_long', `${field} ${verb} ${tokens} tokens; ${name} takes ${maxInputTokens}.`, {
    fields: [{ field, reason: `${verb} ${tokens} tokens, at most ${maxInputTokens} are allowed` }],
    extensions: { inputTokens: tokens, maxInputTokens },
  });
}
