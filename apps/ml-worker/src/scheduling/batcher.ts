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
  /** Of a text that must run by itself: it did, and overran what runs like it take. */
  readonly overran: boolean;
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
  /** When the next batch that a text may lead may leave, in the caller's milliseconds; undefined when there is none. */
  ripeAtMs(mayLead: MayLead<Item>): number | undefined;
  add(item: Item): void;
  /** Takes the next batch out; undefined when nothing that may lead waits, or what waits may still wait for company. */
  take(nowMs: number, mayLead: MayLead<Item>): Batch<Item> | undefined;
  /** Takes out this very text, because nobody wants it any more. False when it does not wait. */
  remove(item: Item): boolean;
}

/**
 * Whether a batch that this text leads may begin to run now. It is the same for all texts of a model that have in common whether they are
 * `alone` and whether they `overran`: only the one of them that is due first is asked about.
 */
export type MayLead<Item> = (item: Item) => boolean;

/** What waits of one model. */
interface ModelQueue<Item extends BatchItem> {
  readonly window: LengthWindow<Item>;
  readonly isolated: Isolated<Item>;
  readonly overran: Isolated<Item>;
  /** The text that was last held back for company. */
  held: Item | undefined;
}

/** Texts that run by themselves. */
interface Isolated<Item extends BatchItem> {
  readonly items: Set<Item>;
  readonly byDue: DueQueue<Item>;
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

  function leave(model: string, queue: ModelQueue<Item>, texts: number): void {
    size -= texts;
    if (textsIn(queue) === 0) queues.delete(model);
  }

  /** The text that is due first of those that can run and need not wait. */
  function lead(nowMs: number, mayLead: MayLead<Item>): Item | undefined {
    let first: Item | undefined;
    for (const queue of queues.values()) {
      const candidate = firstOf(queue, mayLead);
      if (!candidate) continue;
      if (ripeAt(candidate, queue) > nowMs) queue.held = candidate;
      else if (!first || candidate.dueAtMs < first.dueAtMs) first = candidate;
    }
    return first;
  }

  function form(first: Item, queue: ModelQueue<Item>): Batch<Item> {
    const { window, held } = queue;
    if (first.alone) {
      isolatedLike(first, queue).items.delete(first);
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
    ripeAtMs(mayLead) {
      let earliest: number | undefined;
      for (const queue of queues.values()) {
        const first = firstOf(queue, mayLead);
        if (first) earliest = Math.min(earliest ?? Infinity, ripeAt(first, queue));
      }
      return earliest;
    },
    add(item) {
      size += 1;
      const queue = queueOf(item.model);
      if (!item.alone) return queue.window.add(item);
      const { items, byDue } = isolatedLike(item, queue);
      items.add(item);
      byDue.add(item);
    },
    take(nowMs, mayLead) {
      const first = lead(nowMs, mayLead);
      if (!first) return undefined;
      const queue = queueOf(first.model);
      const batch = form(first, queue);
      leave(first.model, queue, batch.texts.length);
      return batch;
    },
    remove(item) {
      const queue = queues.get(item.model);
      if (!queue) return false;
      const removed = item.alone ? isolatedLike(item, queue).items.delete(item) : queue.window.remove(item);
      if (removed) leave(item.model, queue, 1);
      return removed;
    },
  };
}

function createModelQueue<Item extends BatchItem>(): ModelQueue<Item> {
  return { window: createLengthWindow(), isolated: createIsolated(), overran: createIsolated(), held: undefined };
}

function createIsolated<Item extends BatchItem>(): Isolated<Item> {
  const items = new Set<Item>();
  return { items, byDue: createDueQueue((item) => items.has(item)) };
}

/** Where a text waits that must run by itself. */
function isolatedLike<Item extends BatchItem>({ overran }: Item, queue: ModelQueue<Item>): Isolated<Item> {
  return overran ? queue.overran : queue.isolated;
}

/** The text that is due first of those that may lead. */
function firstOf<Item extends BatchItem>(queue: ModelQueue<Item>, mayLead: MayLead<Item>): Item | undefined {
  const { window, isolated, overran } = queue;
  let first: Item | undefined;
  for (const item of [window.first(), isolated.byDue.first(), overran.byDue.first()]) {
    if (item && (!first || item.dueAtMs < first.dueAtMs) && mayLead(item)) first = item;
  }
  return first;
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

function textsIn<Item extends BatchItem>({ window, isolated, overran }: ModelQueue<Item>): number {
  return window.size + isolated.items.size + overran.items.size;
}

function waitingIn<Item extends BatchItem>(queue: ModelQueue<Item>): Waiting {
  let { tokens } = queue.window;
  for (const { items } of [queue.isolated, queue.overran]) for (const item of items) tokens += item.tokens;
  return { texts: textsIn(queue), tokens };
}
