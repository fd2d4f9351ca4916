import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isBatchable } from '@sluice/contracts';
import fc from 'fast-check';
import { asTextModel, buildModels, createTokenizer, openModelRepository } from '@sluice/models';
import { createLogger } from '@sluice/runtime';
import { createInferenceHost, type InferenceHost } from '../src/inference/inference-host.js';
import type { ServedTextModel } from '../src/models/served-models.js';
import { createBatcher } from '../src/scheduling/batcher.js';
import { createBatchings, type BatchLimits } from '../src/scheduling/batching.js';
import type { QueuedText } from '../src/scheduling/running-job.js';
import { createScheduler } from '../src/scheduling/scheduler.js';

const BUILT_MODELS = fileURLToPath(new URL('../../../.local/models', import.meta.url));
const modulePath = fileURLToPath(new URL('../dist/inference/inference-process.js', import.meta.url));
const logger = createLogger({ app: 'test', level: 'silent' });

/** Texts of each model that batches are drawn from. */
const TEXTS = 60;
/** Tokens of the longest of them. */
const LONGEST = { 'use-lite-en': 128, 'use-lite-en-int8': 128, guesslang: 1_500 } as const;
type Name = keyof typeof LONGEST;

/** A text, with the row that the model gives when it runs alone. */
interface Sample {
  readonly sequence: Int32Array;
  readonly row: Float32Array;
}

describe('the rows of texts that were batched', () => {
  let host: InferenceHost;
  const served = new Map<Name, ServedTextModel>();
  const samples = new Map<Name, readonly Sample[]>();

  beforeAll(async () => {
    await mkdir(BUILT_MODELS, { recursive: true });
    await buildModels({ directory: BUILT_MODELS });
    const repository = await openModelRepository(BUILT_MODELS);
    for (const name of Object.keys(LONGEST) as Name[]) {
      const model = asTextModel(await repository.find(name, '1'));
      served.set(name, { key: `${name}/1`, model, tokenizer: await createTokenizer(model) });
    }
    host = createInferenceHost({
      ...{ modulePath, processes: 2, timeoutMs: 60_000, environment: process.env, logger },
      ...{ threads: 1, provider: { name: 'cpu' } },
      models: [...served.values()].map(({ key, model }) => ({ key, model })),
    });
    await host.start();
    for (const [name, { key }] of served) samples.set(name, await sampled(key, LONGEST[name]));
  }, 120_000);

  afterAll(() => host.stop());

  /** Runs texts of many lengths alone: more short ones than long ones, one without a token, one of the longest. */
  async function sampled(key: string, longest: number): Promise<readonly Sample[]> {
    const list: Sample[] = [];
    for (let at = 0; at < TEXTS; at++) {
      const length = Math.floor(longest * (at / (TEXTS - 1)) ** 2);
      const sequence = Int32Array.from({ length }, (_, position) => 1 + ((at * 31 + position * 17) % 250));
      list.push({ sequence, row: (await host.run(key, [sequence])).rows });
    }
    return list;
  }

  /** Runs these texts through a scheduler, a few in each job, all at once. */
  async function batched(model: ServedTextModel, texts: readonly Sample[], perJob: number, limits: BatchLimits) {
    const batchings = createBatchings(limits);
    const sizes: number[] = [];
    const scheduler = createScheduler({
      ...{ host, logger, timeoutMs: 30_000, cancelGraceMs: 250, batcher: createBatcher<QueuedText>() },
      batchingOf: (one) => batchings.of(one),
      observer: { begun: (_model, _reason, begun) => void sizes.push(begun.length), ran: () => undefined },
    });
    const jobs = Array.from({ length: Math.ceil(texts.length / perJob) }, (_, at) =>
      texts.slice(at * perJob, (at + 1) * perJob).map(({ sequence }) => sequence),
    );
    const outcomes = await Promise.all(
      jobs.map((sequences, at) =>
        scheduler.run({
          ...{ served: model, sequences, alone: false, remainingMs: 60_000 },
          class: at % 2 === 0 ? 'standard' : 'interactive',
        }),
      ),
    );
    const rows = outcomes.flatMap((outcome, at) => {
      if (outcome.state !== 'ran') throw new Error('a job was cancelled');
      const { dimensions } = model.model.file.output;
      return jobs[at]?.map((_, text) => outcome.rows.subarray(text * dimensions, (text + 1) * dimensions)) ?? [];
    });
    return { rows, sizes };
  }

  const cuts = fc.record({
    picks: fc.array(fc.nat(TEXTS - 1), { minLength: 2, maxLength: 40 }),
    perJob: fc.integer({ min: 1, max: 5 }),
    maxTokens: fc.integer({ min: 1, max: 4_000 }),
    maxPadding: fc.double({ min: 0, max: 0.9, noNaN: true }),
  });

  it.each(Object.keys(LONGEST) as Name[])(
    'are those of each text alone: %s',
    async (name) => {
      const model = served.get(name);
      if (!model) throw new Error(`${name} is not served`);
      const tolerance = isBatchable(model.model.file) ? 1e-5 : 0;
      let shared = 0;
      const property = fc.asyncProperty(cuts, async ({ picks, perJob, maxTokens, maxPadding }) => {
        const limits = { maxTokens, maxPadding, maxDelayMs: 2, targetLatencyMs: 10_000 };
        const texts = picks.flatMap((pick) => samples.get(name)?.[pick] ?? []);
        const { rows, sizes } = await batched(model, texts, perJob, limits);
        shared += sizes.filter((size) => size > 1).length;
        expect(rows).toHaveLength(texts.length);
        for (const [at, { row }] of texts.entries()) {
          const found = rows[at] ?? new Float32Array(0);
          const furthest = row.reduce(
            (most, value, column) => Math.max(most, Math.abs(value - (found[column] ?? NaN))),
            0,
          );
          expect(furthest).toBeLessThanOrEqual(tolerance);
          if (model.model.file.labels) expect(topOf(found)).toBe(topOf(row));
        }
      });
      await fc.assert(property, { numRuns: 15 });
      expect(shared).toBeGreaterThan(0);
    },
    120_000,
  );
});

/** The column of the likeliest label. */
function topOf(row: Float32Array): number {
  return row.indexOf(Math.max(...row));
}
