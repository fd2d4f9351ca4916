import { createLengthWindow, type LengthWindow } from './length-window.js';

/** A text that waits for inference. */
export interface BatchItem {
  /** Texts share a run only with texts of the same model. */
  readonly model: string;
  /** False: the model takes one text a run, so texts only share the trip to a process. */
  readonly batchable: boolean;
  /** Length in the model's own tokens. */
  readonly tokens: number;
  /** Order between texts: the smallest goes next. Within a lane it must not fall from one `add` to the next. */
  readonly dueAtMs: number;
  /** Texts of one lane are kept in the order they were added. Few distinct lanes: one for each job class. */
  readonly lane: string;
  /** Until then the text may wait for company. */
  readonly ripeAtMs: number;
  /** Must run by itself, because a run that it was part of went wrong. */
  readonly alone: boolean;
}

export interface BatcherOptions {
  /** Most tokens of a batch, padding included: longest text × texts. A longer text runs by itself. */
  readonly maxTokens: number;
  /** Most padding of a batch as a share of its tokens, 0 … 1. */
  readonly maxPadding: number;
}

export interface Batcher<Item extends BatchItem> {
  /** Texts that wait. */
  readonly size: number;
  /** When the next batch may leave, in the caller's milliseconds; undefined when nothing waits. */
  readonly ripeAtMs: number | undefined;
  add(item: Item): void;
  /** Takes the next batch out; empty when nothing waits or what waits may still wait for company. */
  take(nowMs: number): readonly Item[];
  /** Takes out this very text, because nobody wants it any more. False when it does not wait. */
  remove(item: Item): boolean;
}

/**
 * Groups waiting texts into batches that waste little.
 *
 * The text that is due first always leads the next batch, so nothing starves. The rest of the batch are the texts
 * nearest to it in length: on a CPU a run costs as much as its padded tokens, and counting texts instead of tokens is
 * slower than no batching at all when lengths are mixed.
 *
 * Texts are kept in one bucket for each length, so the cost of a batch grows with the number of distinct lengths and
 * not with the number of waiting texts.
 */
export function createBatcher<Item extends BatchItem>(options: BatcherOptions): Batcher<Item> {
  const suspects: Item[] = [];
  const windows = new Map<string, LengthWindow<Item>>();
  let size = 0;

  function windowOf(model: string): LengthWindow<Item> {
    let window = windows.get(model);
    if (!window) windows.set(model, (window = createLengthWindow<Item>()));
    return window;
  }

  /** The text that is due first. */
  function lead(): Item | undefined {
    let first = suspects[0];
    for (const window of windows.values()) {
      const candidate = window.first();
      if (candidate && (!first || candidate.dueAtMs < first.dueAtMs)) first = candidate;
    }
    return first;
  }

  function isRipe(item: Item, nowMs: number): boolean {
    return item.alone || item.ripeAtMs <= nowMs || windowOf(item.model).tokens >= options.maxTokens;
  }

  function fill(first: Item): Item[] {
    if (first.alone) return suspects.splice(0, 1);
    const window = windowOf(first.model);
    return first.batchable ? fillPadded(window, first, options) : fillUnpadded(window, options);
  }

  return {
    get size() {
      return size;
    },
    get ripeAtMs() {
      const first = lead();
      if (!first) return undefined;
      return isRipe(first, -Infinity) ? -Infinity : first.ripeAtMs;
    },
    add(item) {
      size += 1;
      if (item.alone) suspects.push(item);
      else windowOf(item.model).add(item);
    },
    take(nowMs) {
      const first = lead();
      if (!first || !isRipe(first, nowMs)) return [];
      const batch = fill(first);
      size -= batch.length;
      return batch;
    },
    remove(item) {
      const removed = item.alone ? removeFrom(suspects, item) : windowOf(item.model).remove(item);
      if (removed) size -= 1;
      return removed;
    },
  };
}

function removeFrom<Item>(list: Item[], item: Item): boolean {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
  return at >= 0;
}

/** Grows a batch around its lead, each time by the neighbour in length that adds the least padding. */
function fillPadded<Item extends BatchItem>(window: LengthWindow<Item>, lead: Item, options: BatcherOptions): Item[] {
  const batch = [window.take(lead.tokens)];
  let longest = lead.tokens;
  let tokens = lead.tokens;
  for (;;) {
    const count = batch.length + 1;
    const next = window
      .neighbours(lead.tokens)
      .map((length) => ({ length, longest: Math.max(longest, length), tokens: tokens + length }))
      .filter((grown) => grown.longest * count <= options.maxTokens)
      .filter((grown) => grown.longest * count - grown.tokens <= options.maxPadding * grown.longest * count)
      .sort((a, b) => a.longest * count - a.tokens - (b.longest * count - b.tokens))[0];
    if (!next) return batch;
    batch.push(window.take(next.length));
    ({ longest, tokens } = next);
  }
}

/** Texts in the order they are due, each to be run by itself. */
function fillUnpadded<Item extends BatchItem>(window: LengthWindow<Item>, options: BatcherOptions): Item[] {
  const batch: Item[] = [];
  let tokens = 0;
  for (let next = window.first(); next; next = window.first()) {
    if (batch.length > 0 && tokens + next.tokens > options.maxTokens) break;
    tokens += next.tokens;
    batch.push(window.take(next.tokens));
  }
  return batch;
}
