import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createBatcher, type Batch, type Batcher, type BatchItem } from './batcher.js';
import type { ModelBatching } from './batching.js';
import { createCostModel } from './cost-model.js';

const cost = createCostModel({
  curve: { perRun: 1, perText: 0.01, perToken: 0.05, perPair: 0.00001, crowding: 0.000004 },
  tripMs: 0.2,
});
const limits = { maxTokens: 2_000, maxPadding: 0.4, maxDelayMs: 2, targetLatencyMs: 100 };
const batching: ModelBatching = { limits, cost };
const anyText = () => true;

interface Text extends BatchItem {
  readonly id: number;
}

let ids = 0;

function text(tokens: number, overrides: Partial<Text> = {}): Text {
  const aloneMs = cost.runMs(1, tokens);
  const defaults = {
    model: 'encoder',
    batching,
    batchable: true,
    dueAtMs: ids,
    ripeAtMs: 0,
    alone: false,
    overran: false,
  };
  return { id: ++ids, tokens, aloneMs, hurry: undefined, ...defaults, ...overrides };
}

function batcherOf(texts: readonly Text[]): Batcher<Text> {
  const batcher = createBatcher<Text>();
  for (const item of texts) batcher.add(item);
  return batcher;
}

/** Takes until nothing is left. */
function drain(texts: readonly Text[]): readonly Batch<Text>[] {
  return drainFrom(batcherOf(texts));
}

function drainFrom(batcher: Batcher<Text>): readonly Batch<Text>[] {
  const batches: Batch<Text>[] = [];
  for (;;) {
    const batch = batcher.take(Infinity, anyText);
    if (!batch) break;
    batches.push(batch);
  }
  expect(batcher.size).toBe(0);
  expect(batcher.waiting().size).toBe(0);
  return batches;
}

const lengthsOf = ({ texts }: Batch<Text>): readonly number[] => texts.map(({ tokens }) => tokens);
const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, value) => sum + value, 0);
const paddedOf = (lengths: readonly number[]): number => Math.max(...lengths) * lengths.length;
const runMsOf = (lengths: readonly number[]): number => cost.tripMs + cost.runMs(lengths.length, Math.max(...lengths));

/** Texts in order of arrival, one each millisecond, of three classes. */
const OFFSETS_MS = { interactive: 0, standard: 20, batch: 50 };
const arrivals = fc
  .array(
    fc.record({
      tokens: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 900 })),
      model: fc.constantFrom('encoder', 'classifier'),
      jobClass: fc.constantFrom('interactive' as const, 'standard' as const, 'batch' as const),
      soonMs: fc.option(fc.nat(60), { nil: 60 }),
      alone: fc.boolean(),
    }),
    { maxLength: 200 },
  )
  .map((items) =>
    items.map(({ jobClass, soonMs, ...item }, at) =>
      text(item.tokens, { ...item, dueAtMs: at + Math.min(soonMs, OFFSETS_MS[jobClass]) }),
    ),
  );

describe('a batcher', () => {
  it('puts every text in exactly one batch, with texts of one model only', () => {
    fc.assert(
      fc.property(arrivals, (texts) => {
        const batches = drain(texts);
        const taken = batches.flatMap((batch) => batch.texts.map(({ id }) => id));
        expect(taken.toSorted((a, b) => a - b)).toEqual(texts.map(({ id }) => id));
        for (const batch of batches) expect(new Set(batch.texts.map(({ model }) => model)).size).toBe(1);
      }),
    );
  });

  it('keeps every batch of several texts within its bounds, and cheaper than its texts one by one', () => {
    fc.assert(
      fc.property(arrivals, (texts) => {
        for (const lengths of drain(texts).map(lengthsOf)) {
          if (lengths.length === 1) continue;
          expect(paddedOf(lengths)).toBeLessThanOrEqual(limits.maxTokens);
          expect(1 - sumOf(lengths) / paddedOf(lengths)).toBeLessThanOrEqual(limits.maxPadding + 1e-9);
          expect(runMsOf(lengths)).toBeLessThanOrEqual(limits.targetLatencyMs);
          expect(runMsOf(lengths)).toBeLessThan(sumOf(lengths.map((length) => runMsOf([length]))));
        }
      }),
    );
  });

  it('puts the text that is due first into the next batch', () => {
    fc.assert(
      fc.property(arrivals, (texts) => {
        const batcher = batcherOf(texts);
        const left = new Map(texts.map((item) => [item.id, item]));
        while (left.size > 0) {
          const first = Math.min(...[...left.values()].map(({ dueAtMs }) => dueAtMs));
          const batch = batcher.take(Infinity, anyText);
          expect(batch?.texts[0]?.dueAtMs).toBe(first);
          for (const { id } of batch?.texts ?? []) left.delete(id);
        }
      }),
    );
  });

  it('lets no text wait longer than until it is due and what was due before it has run', () => {
    fc.assert(
      fc.property(arrivals, (texts) => {
        const batcher = createBatcher<Text>();
        const begun = new Map<Text, number>();
        const coming = [...texts];
        const longestRunMs = (item: Text): number => Math.max(limits.targetLatencyMs, runMsOf([item.tokens]));
        for (let nowMs = 0, at = 0; begun.size < texts.length;) {
          for (; coming[0] && at <= nowMs; at++) batcher.add(coming.shift() ?? text(1));
          const batch = batcher.take(nowMs, anyText);
          for (const item of batch?.texts ?? []) begun.set(item, nowMs);
          nowMs += batch ? runMsOf(lengthsOf(batch)) : 1;
        }
        for (const [item, beganAtMs] of begun) {
          const before = texts.filter((other) => other !== item && other.dueAtMs <= item.dueAtMs);
          const underWayMs = Math.max(...texts.map(longestRunMs));
          expect(beganAtMs).toBeLessThanOrEqual(item.dueAtMs + 1 + underWayMs + sumOf(before.map(longestRunMs)));
        }
      }),
    );
  });

  it('makes the same batches whatever the order of arrival, when the order of need is the same', () => {
    fc.assert(
      fc.property(arrivals, fc.array(fc.nat(), { minLength: 200, maxLength: 200 }), (texts, ranks) => {
        const distinct = texts.map((item) => ({ ...item, dueAtMs: item.id }));
        const shuffled = distinct
          .map((item, at) => ({ item, rank: ranks[at] ?? 0 }))
          .sort((a, b) => a.rank - b.rank)
          .map(({ item }) => item);
        expect(drain(shuffled)).toEqual(drain(distinct));
      }),
      { numRuns: 50 },
    );
  });

  it('makes the same batches after a text was removed as if it had never come', () => {
    fc.assert(
      fc.property(arrivals, fc.infiniteStream(fc.boolean()), (texts, removals) => {
        const distinct = texts.map((item) => ({ ...item, dueAtMs: item.id }));
        const removed = new Set(distinct.filter(() => removals.next().value));
        const batcher = batcherOf(distinct);
        for (const item of removed) expect(batcher.remove(item)).toBe(true);
        for (const item of removed) expect(batcher.remove(item)).toBe(false);
        expect(batcher.size).toBe(distinct.length - removed.size);
        expect(drainFrom(batcher)).toEqual(drain(distinct.filter((item) => !removed.has(item))));
      }),
    );
  });

  it('removes only what still waits, while others are taken', () => {
    fc.assert(
      fc.property(arrivals, fc.infiniteStream(fc.boolean()), (texts, removals) => {
        const batcher = batcherOf(texts);
        const gone = new Set<Text>();
        while (batcher.size > 0) {
          for (const item of batcher.take(Infinity, anyText)?.texts ?? []) {
            expect(gone.has(item)).toBe(false);
            gone.add(item);
          }
          const item = texts.find((candidate) => removals.next().value && !gone.has(candidate)) ?? texts[0];
          if (!item) continue;
          expect(batcher.remove(item)).toBe(!gone.has(item));
          gone.add(item);
        }
        expect(gone.size).toBe(texts.length);
        expect(batcher.ripeAtMs(anyText)).toBeUndefined();
      }),
    );
  });

  it('fills a batch with the texts nearest in length to the one that is due first', () => {
    const [batch] = drain([text(50), text(200), text(49), text(52), text(5), text(51)]);
    expect(batch && lengthsOf(batch).toSorted()).toEqual([49, 50, 51, 52]);
  });

  it('runs texts by themselves for which company costs more than it saves, and batches shorter ones', () => {
    const batches = drain([400, 400, 8, 8, 8, 8].map((tokens) => text(tokens)));
    expect(batches.map(lengthsOf)).toEqual([[400], [400], [8, 8, 8, 8]]);
  });

  it('makes batches of the size at which a token is cheapest while enough waits', () => {
    const [batch] = drain(Array.from({ length: 200 }, () => text(10)));
    const tokens = sumOf(batch ? lengthsOf(batch) : []);
    expect(Math.abs(tokens - cost.bestTokens)).toBeLessThanOrEqual(10);
  });

  it('keeps to the bounds of the model whose text leads', () => {
    const tight = { batching: { limits: { ...limits, maxTokens: 30 }, cost } };
    expect(drain([10, 10, 10, 10].map((tokens) => text(tokens, tight))).map(lengthsOf)).toEqual([[10, 10, 10], [10]]);
  });

  it('runs a text that is longer than the budget by itself', () => {
    expect(drain([text(2_600), text(2_600)]).map(({ texts }) => texts.length)).toEqual([1, 1]);
  });

  it('runs a text that must be alone by itself, next to texts of the same length', () => {
    const batches = drain([text(8), text(8, { alone: true }), text(8)]);
    expect(batches.map(({ texts, reason }) => [texts.length, reason])).toEqual([
      [2, 'drain'],
      [1, 'isolated'],
    ]);
  });

  it('lets texts of a model that takes one text a run share trips in the order of need, until the trip is cheap', () => {
    const texts = [10, 15, 5, 400, 5, 5].map((tokens) => text(tokens, { batchable: false }));
    expect(drain(texts).map(lengthsOf)).toEqual([[10, 15], [5], [400], [5, 5]]);
  });

  it('takes only texts of models that can run, and tells when the next of those is ripe', () => {
    const batcher = batcherOf([text(8), text(8, { model: 'classifier', ripeAtMs: 50 })]);
    const only = ({ model }: Text) => model === 'classifier';
    expect(batcher.take(49, only)).toBeUndefined();
    expect(batcher.ripeAtMs(only)).toBe(50);
    expect(batcher.take(50, only)?.texts[0]?.model).toBe('classifier');
    expect([batcher.take(Infinity, only), batcher.ripeAtMs(only)]).toEqual([undefined, undefined]);
    expect([batcher.size, batcher.has('encoder'), batcher.has('classifier')]).toEqual([1, true, false]);
  });

  it("lets a text that need not wait go ahead of another model's that is due before it", () => {
    const batcher = batcherOf([text(8, { ripeAtMs: 100 }), text(8, { model: 'classifier' })]);
    expect(batcher.take(0, anyText)?.texts[0]?.model).toBe('classifier');
    expect(batcher.take(0, anyText)).toBeUndefined();
  });

  it('lets a text that is due earlier overtake one that came before it', () => {
    const batch = text(400, { dueAtMs: 2_000_000 });
    const interactive = text(400, { dueAtMs: 1 });
    expect(drain([batch, interactive]).flatMap(({ texts }) => texts)).toEqual([interactive, batch]);
  });

  describe('says why it closed a batch:', () => {
    const reasonsOf = (texts: readonly Text[]) => drain(texts).map(({ reason }) => reason);

    it('full, when a text without padding would be too much', () => {
      expect(reasonsOf(Array.from({ length: 60 }, () => text(10)))).toEqual(['full', 'drain']);
    });

    it('waste, when only texts wait that would cost more than they save', () => {
      expect(reasonsOf([text(8), text(200)])).toEqual(['waste', 'drain']);
    });

    it('waste, when company could not have paid', () => {
      expect(reasonsOf([text(300, { hurry: 'waste' })])).toEqual(['waste']);
    });

    it('delay, when it was held back and nothing came', () => {
      const batcher = batcherOf([text(8, { ripeAtMs: 100 })]);
      expect(batcher.take(99, anyText)).toBeUndefined();
      expect(batcher.take(100, anyText)?.reason).toBe('delay');
    });

    it('deadline, when its first text may not wait', () => {
      expect(reasonsOf([text(8, { hurry: 'deadline' }), text(8)])).toEqual(['deadline']);
    });

    it('drain, when everything left with an idle process', () => {
      expect(reasonsOf([text(8), text(8)])).toEqual(['drain']);
    });
  });

  it('lets a batch go before it is ripe when as much waits as it should have', () => {
    const batcher = batcherOf(Array.from({ length: 60 }, () => text(10, { ripeAtMs: 100 })));
    expect(batcher.take(0, anyText)?.reason).toBe('full');
  });
});
