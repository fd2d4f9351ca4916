import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createBatcher, type BatchItem } from './batcher.js';

const options = { maxTokens: 512, maxPadding: 0.15 };

interface Text extends BatchItem {
  readonly id: number;
}

let ids = 0;

function text(tokens: number, overrides: Partial<Text> = {}): Text {
  const defaults = { model: 'encoder', batchable: true, lane: 'standard', dueAtMs: ids, ripeAtMs: 0, alone: false };
  return { id: ++ids, tokens, ...defaults, ...overrides };
}

function batcherOf(texts: readonly Text[]) {
  const batcher = createBatcher<Text>(options);
  for (const item of texts) batcher.add(item);
  return batcher;
}

/** Takes until nothing is left. */
function drain(texts: readonly Text[]): readonly (readonly Text[])[] {
  return drainFrom(batcherOf(texts));
}

function drainFrom(batcher: ReturnType<typeof batcherOf>): readonly (readonly Text[])[] {
  const batches: (readonly Text[])[] = [];
  for (let batch = batcher.take(Infinity); batch.length > 0; batch = batcher.take(Infinity)) batches.push(batch);
  expect(batcher.size).toBe(0);
  return batches;
}

const sumOf = (batch: readonly Text[]): number => batch.reduce((sum, { tokens }) => sum + tokens, 0);
const paddedOf = (batch: readonly Text[]): number => Math.max(...batch.map(({ tokens }) => tokens)) * batch.length;

/** Texts in order of arrival, as a scheduler adds them: within a lane the due time never falls. */
const arrivals = fc
  .array(
    fc.record({
      tokens: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 900 })),
      model: fc.constantFrom('encoder', 'classifier'),
      lane: fc.constantFrom('interactive', 'standard', 'batch'),
      alone: fc.boolean(),
    }),
    { maxLength: 200 },
  )
  .map((items) => {
    const lateness: Record<string, number> = { interactive: 0, standard: 20, batch: 50 };
    return items.map((item, at) => text(item.tokens, { ...item, dueAtMs: at + (lateness[item.lane] ?? 0) }));
  });

describe('a batcher', () => {
  it('puts every text in exactly one batch, with texts of one model only', () => {
    fc.assert(
      fc.property(arrivals, (texts) => {
        const batches = drain(texts);
        const taken = batches.flat().map(({ id }) => id);
        expect(taken.toSorted((a, b) => a - b)).toEqual(texts.map(({ id }) => id));
        for (const batch of batches) expect(new Set(batch.map(({ model }) => model)).size).toBe(1);
      }),
    );
  });

  it('keeps every batch of several texts within the budget and the padding bound', () => {
    fc.assert(
      fc.property(arrivals, (texts) => {
        for (const batch of drain(texts).filter(({ length }) => length > 1)) {
          expect(paddedOf(batch)).toBeLessThanOrEqual(options.maxTokens);
          expect(1 - sumOf(batch) / paddedOf(batch)).toBeLessThanOrEqual(options.maxPadding + 1e-9);
        }
      }),
    );
  });

  it('puts the text that is due first into the next batch, so none starves', () => {
    fc.assert(
      fc.property(arrivals, (texts) => {
        const batcher = batcherOf(texts.map((item) => ({ ...item, alone: false })));
        const left = new Map(texts.map((item) => [item.id, item]));
        while (left.size > 0) {
          const first = Math.min(...[...left.values()].map(({ dueAtMs }) => dueAtMs));
          const batch = batcher.take(Infinity);
          expect(batch[0]?.dueAtMs).toBe(first);
          for (const { id } of batch) left.delete(id);
        }
      }),
    );
  });

  it('makes batches of the same lengths whatever the order of arrival, when the order of need is the same', () => {
    fc.assert(
      fc.property(arrivals, fc.array(fc.nat(), { minLength: 200, maxLength: 200 }), (texts, ranks) => {
        // One lane for each text: then need alone decides, and any order of arrival is allowed.
        const free = texts.map((item) => ({ ...item, alone: false, dueAtMs: item.id, lane: String(item.id) }));
        const shuffled = free
          .map((item, at) => ({ item, rank: ranks[at] ?? 0 }))
          .sort((a, b) => a.rank - b.rank)
          .map(({ item }) => item);
        const shape = (batches: readonly (readonly Text[])[]) => batches.map((batch) => batch.map(({ id }) => id));
        expect(shape(drain(shuffled))).toEqual(shape(drain(free)));
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
          for (const item of batcher.take(Infinity)) {
            expect(gone.has(item)).toBe(false);
            gone.add(item);
          }
          const item = texts.find((candidate) => removals.next().value && !gone.has(candidate)) ?? texts[0];
          if (!item) continue;
          expect(batcher.remove(item)).toBe(!gone.has(item));
          gone.add(item);
        }
        expect(gone.size).toBe(texts.length);
        expect(batcher.ripeAtMs).toBeUndefined();
      }),
    );
  });

  it('fills a batch with the texts nearest in length to the one that is due first', () => {
    const [batch] = drain([text(50), text(200), text(49), text(52), text(10), text(51)]);
    expect(batch?.map(({ tokens }) => tokens).toSorted()).toEqual([49, 50, 51, 52]);
  });

  it('runs a text that is longer than the budget by itself', () => {
    expect(drain([text(600), text(600)]).map(({ length }) => length)).toEqual([1, 1]);
  });

  it('runs a text that must be alone by itself, next to texts of the same length', () => {
    const batches = drain([text(8), text(8, { alone: true }), text(8)]);
    expect(batches.map((batch) => batch.map(({ alone }) => alone))).toEqual([[false, false], [true]]);
  });

  it('groups texts of a model that takes one text a run by their real tokens, in the order of need', () => {
    const single = { batchable: false };
    const batches = drain([text(300, single), text(5, single), text(200, single), text(10, single)]);
    expect(batches.map((batch) => batch.map(({ tokens }) => tokens))).toEqual([[300, 5, 200], [10]]);
  });

  it('holds a batch back until its first text is ripe', () => {
    const batcher = batcherOf([text(8, { ripeAtMs: 100 })]);
    expect(batcher.take(99)).toEqual([]);
    expect(batcher.ripeAtMs).toBe(100);
    expect(batcher.take(100)).toHaveLength(1);
    expect(batcher.ripeAtMs).toBeUndefined();
  });

  it('lets a batch go before it is ripe when a full one waits', () => {
    const batcher = batcherOf(Array.from({ length: 64 }, () => text(8, { ripeAtMs: 100 })));
    expect(batcher.take(0)).toHaveLength(64);
  });

  it('lets a text that is due earlier overtake one that came before it', () => {
    const batch = text(400, { lane: 'batch', dueAtMs: 2_000 });
    const interactive = text(400, { lane: 'interactive', dueAtMs: 1 });
    expect(drain([batch, interactive]).flat()).toEqual([interactive, batch]);
  });
});
