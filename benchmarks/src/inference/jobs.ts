import { randomUUID } from 'node:crypto';
import { completedMessageSchema, newJobId, type AcceptedMessage, type JobClass } from '@sluice/contracts';
import type { TextSet } from './text-set.js';

const DEADLINE_MS = 3_600_000;
const API_KEY_ID = randomUUID();

export interface JobsOptions {
  readonly textsPerJob: number;
  readonly class: JobClass;
}

/** The texts of a set as jobs, in the order of the set. */
export function jobsOf(set: TextSet, { textsPerJob, class: jobClass }: JobsOptions): readonly AcceptedMessage[] {
  return Array.from({ length: Math.ceil(set.texts.length / textsPerJob) }, (_, index) => {
    const from = index * textsPerJob;
    const texts = set.texts.slice(from, from + textsPerJob);
    const inputTokens = set.sequences
      .slice(from, from + textsPerJob)
      .reduce((sum, sequence) => sum + sequence.length, 0);
    return {
      jobId: newJobId(),
      tenantId: 'bench',
      apiKeyId: API_KEY_ID,
      model: set.model.name,
      class: jobClass,
      input: textsPerJob === 1 ? (texts[0] ?? '') : texts,
      inputTokens,
      maxOutputTokens: 0,
      reservedTokens: inputTokens,
      expiresAtMs: Date.now() + DEADLINE_MS,
    };
  });
}

/**
 * What the jobs came to must be what they were accepted for.
 *
 * @param facts body of the terminal fact, by job.
 * @throws Error when a job did not succeed or is to be billed for other tokens: such a round has no figures.
 */
export function checkFacts(jobs: readonly AcceptedMessage[], facts: ReadonlyMap<string, Buffer>): void {
  for (const { jobId, inputTokens } of jobs) {
    const body = facts.get(jobId);
    if (!body) throw new Error(`there is no result of job ${jobId}`);
    const { state, error, usage } = completedMessageSchema.parse(JSON.parse(body.toString()));
    if (state !== 'succeeded') throw new Error(`a job ${state}: ${error?.code ?? ''} ${error?.detail ?? ''}`);
    if (usage.inputTokens !== inputTokens) {
      throw new Error(`a job of ${inputTokens} tokens is to be billed for ${usage.inputTokens}`);
    }
  }
}
