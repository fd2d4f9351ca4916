import { describe, expect, it } from '@jest/globals';
import { acceptedMessageSchema, type AcceptedMessage, type CompletedMessage } from '@sluice/contracts';
import type { TextModel } from '@sluice/models';
import { checkFacts, jobsOf } from './jobs.js';
import type { TextSet } from './text-set.js';

const set: TextSet = {
  model: { name: 'a-model' } as TextModel,
  texts: ['one', 'two', 'three'],
  sequences: [new Int32Array(1), new Int32Array(2), new Int32Array(4)],
  tokens: 7,
  description: '',
  digest: '',
};

const factsOf = (jobs: readonly AcceptedMessage[], change: Partial<CompletedMessage> = {}) =>
  new Map(
    jobs.map(({ jobId, tenantId, apiKeyId, model, class: jobClass, inputTokens }) => {
      const usage = { inputTokens, outputTokens: 0, cachedTokens: 0 };
      const who = { jobId, tenantId, apiKeyId, model, class: jobClass };
      const fact: CompletedMessage = { ...who, state: 'succeeded', usage, attempt: 1, finishedAtMs: 1, ...change };
      return [jobId, Buffer.from(JSON.stringify(fact))] as const;
    }),
  );

describe('jobsOf', () => {
  it('makes messages that a worker accepts, with every text once and its tokens counted', () => {
    const jobs = jobsOf(set, { textsPerJob: 2, class: 'standard' });
    expect(jobs.map((job) => acceptedMessageSchema.parse(job))).toEqual(jobs);
    expect(jobs.map(({ input, inputTokens }) => [input, inputTokens])).toEqual([
      [['one', 'two'], 3],
      [['three'], 4],
    ]);
    expect(new Set(jobs.map(({ jobId }) => jobId)).size).toBe(2);
  });

  it('gives a job of one text as a text', () => {
    expect(jobsOf(set, { textsPerJob: 1, class: 'batch' }).map(({ input }) => input)).toEqual(set.texts);
  });
});

describe('checkFacts', () => {
  const jobs = jobsOf(set, { textsPerJob: 1, class: 'standard' });

  it('takes jobs that all succeeded with the tokens they were accepted for', () => {
    expect(() => checkFacts(jobs, factsOf(jobs))).not.toThrow();
  });

  it.each<[string, Map<string, Buffer>]>([
    ['there is no result', factsOf(jobs.slice(1))],
    ['failed: inference_failed', factsOf(jobs, { state: 'failed', error: { code: 'inference_failed', detail: 'x' } })],
    ['billed for 9', factsOf(jobs, { usage: { inputTokens: 9, outputTokens: 0, cachedTokens: 0 } })],
  ])('refuses a round of which one says: %s', (problem, facts) => {
    expect(() => checkFacts(jobs, facts)).toThrow(problem);
  });
});
