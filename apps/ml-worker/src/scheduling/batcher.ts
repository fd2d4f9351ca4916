import { formPadded, formUnpadded } from './batch-forming.js';
import type { BatchReason, ModelBatching } from './batching.js';
import { createDueQueue, type DueQueue } from './due-queue.js';
import { createLengthWindow, type LengthWindow, type WindowItem } from './length-window.js';

/** A text that waits for inference. Its `dueAtMs` is its order among all texts: the smallest goes next. */
export interface BatchItem extends WindowItem {
  /** Texts share a run only with texts of the same model. */
  readonly model: string;
  /** How texts of this model are batched; that of the text that is due first counts. */
  readonly batching: ModelBatching;
  /** False: the model takes one text a run, so texts only share the trip to a process. */
  readonly batchable: boolean;
  /** Until then the text may wait for company. */
  readonly ripeAtMs: number;
  /** Why the text waits less for company than its model's texts may; undefined when it does not. */
  readonly hurry: 'deadline' | 'waste' | undefined;
  /** Must run by itself, because a run that it was part of went wrong. */
  readonly alone: boolean;
}

/** Texts that share a run. */
export interface Batch<Item> {
  /** At least one, all of one model. */
  readonly texts: readonly Item[];
  readonly reason: BatchReason;
}

/** What waits of a model. */
export interface Waiting {
  readonly texts: number;
  readonly tokens: number;
}

export interface Batcher<Item extends BatchItem> {
  /** Texts that wait. */
  readonly size: number;
  /** By model; models of which nothing waits are left out. */
  waiting(): ReadonlyMap<string, Waiting>;
  has(model: string): boolean;
  /** When the next batch of a model that can run may leave, in the caller's milliseconds; undefined when there is none. */
  ripeAtMs(canRun: (model: string) => boolean): number | undefined;
  add(item: Item): void;
  /** Takes the next batch out; undefined when nothing that can run waits, or what waits may still wait for company. */
  take(nowMs: number, canRun: (model: string) => boolean): Batch<Item> | undefined;
  /** Takes out this very text, because nobody wants it any more. False when it does not wait. */
  remove(item: Item): boolean;
}

/** What waits of one model. */
interface ModelQueue<Item extends BatchItem> {
  readonly window: LengthWindow<Item>;
  readonly isolated: Set<Item>;
  readonly isolatedByDue: DueQueue<Item>;
  /** The text that was last held back for company. */
  held: Item | undefined;
}

/**
 * Groups waiting texts into batches that waste little.
 *
 * Of the texts that need not wait, the one that is due first always leads the next batch, so nothing starves. Which of its neighbours
 * in length join is decided by what runs of the model cost: see `formPadded`.
 *
 * What a batch costs to form does not grow with the number of waiting texts, but for logarithms.
 */
export function createBatcher<Item extends BatchItem>(): Batcher<Item> {
  /** No entry is empty. */
  const queues = new Map<string, ModelQueue<Item>>();
  let size = 0;

  function queueOf(model: string): ModelQueue<Item> {
    let queue = queues.get(model);
    if (!queue) queues.set(model, (queue = createModelQueue<Item>()));
    return queue;
  }

  function leave(model: string, { window, isolated }: ModelQueue<Item>, texts: number): void {
    size -= texts;
    if (window.size === 0 && isolated.size === 0) queues.delete(model);
  }

  /** The text that is due first of those that can run and need not wait. */
  function lead(nowMs: number, canRun: (model: string) => boolean): Item | undefined {
    let first: Item | undefined;
    for (const [model, queue] of queues) {
      if (!canRun(model)) continue;
      const candidate = firstOf(queue);
      if (ripeAt(candidate, queue) > nowMs) queue.held = candidate;
      else if (!first || candidate.dueAtMs < first.dueAtMs) first = candidate;
    }
    return first;
  }

  function form(first: Item, { window, isolated, held }: ModelQueue<Item>): Batch<Item> {
    if (first.alone) {
      isolated.delete(first);
      return { texts: [first], reason: 'isolated' };
    }
    const wasPlenty = isPlenty(first, window);
    const formed = first.batchable ? formPadded(window, first, first.batching) : formUnpadded(window, first.batching);
    if (formed.stop !== 'emptied') return { texts: formed.texts, reason: formed.stop };
    const otherwise = first === held ? 'delay' : 'drain';
    return { texts: formed.texts, reason: first.hurry ?? (wasPlenty ? 'full' : otherwise) };
  }

  return {
    get size() {
      return size;
    },
    waiting() {
      return new Map([...queues].map(([model, queue]) => [model, waitingIn(queue)]));
    },
    has: (model) => queues.has(model),
    ripeAtMs(canRun) {
      let earliest: number | undefined;
      for (const [model, queue] of queues) {
        if (canRun(model)) earliest = Math.min(earliest ?? Infinity, ripeAt(firstOf(queue), queue));
      }
      return earliest;
    },
    add(item) {
      size += 1;
      const { window, isolated, isolatedByDue } = queueOf(item.model);
      if (!item.alone) return window.add(item);
      isolated.add(item);
      isolatedByDue.add(item);
    },
    take(nowMs, canRun) {
      const first = lead(nowMs, canRun);
      if (!first) return undefined;
      const queue = queueOf(first.model);
      const batch = form(first, queue);
      leave(first.model, queue, batch.texts.length);
      return batch;
    },
    remove(item) {
      const queue = queues.get(item.model);
      if (!queue) return false;
      const removed = item.alone ? queue.isolated.delete(item) : queue.window.remove(item);
      if (removed) leave(item.model, queue, 1);
      return removed;
    },
  };
}

function createModelQueue<Item extends BatchItem>(): ModelQueue<Item> {
  const isolated = new Set<Item>();
  return {
    window: createLengthWindow(),
    isolated,
    isolatedByDue: createDueQueue((item) => isolated.has(item)),
    held: undefined,
  };
}

/** The text that is due first, of a queue that is not empty. */
function firstOf<Item extends BatchItem>({ window, isolatedByDue }: ModelQueue<Item>): Item {
  const first = window.first();
  const isolated = isolatedByDue.first();
  if (first && (!isolated || first.dueAtMs <= isolated.dueAtMs)) return first;
  if (!isolated) throw new Error('a queue of the batcher is empty');
  return isolated;
}

/** From when a batch that this text leads may leave. */
function ripeAt<Item extends BatchItem>(first: Item, { window }: ModelQueue<Item>): number {
  return first.alone || isPlenty(first, window) ? -Infinity : first.ripeAtMs;
}

/** As much waits as a batch should have: nothing better is to be waited for. */
function isPlenty<Item extends BatchItem>({ batching }: Item, { tokens, aloneMs }: LengthWindow<Item>): boolean {
  const { limits, cost } = batching;
  return tokens >= Math.min(limits.maxTokens, cost.bestTokens) || aloneMs >= limits.targetLatencyMs;
}

function waitingIn<Item extends BatchItem>({ window, isolated }: ModelQueue<Item>): Waiting {
  let tokens = window.tokens;
  for (const item of isolated) tokens += item.tokens;
  return { texts: window.size + isolated.size, tokens };
}
