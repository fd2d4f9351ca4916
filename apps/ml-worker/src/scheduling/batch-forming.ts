import type { ModelBatching } from './batching.js';
import type { LengthWindow, WindowItem } from './length-window.js';

/** Texts that share a run, and why there are no more of them: `emptied` when no other waits. */
export interface Formed<Item> {
  readonly texts: readonly Item[];
  readonly stop: 'full' | 'waste' | 'emptied';
}

/** Texts that are run one by one share a trip until it is this part of the whole: more would only delay the first one. */
const TRIP_SHARE = 0.05;

/** A batch as it grows. Times include the trip. */
interface Draft {
  readonly texts: number;
  readonly longest: number;
  /** Real tokens. */
  readonly tokens: number;
  readonly ms: number;
}

/**
 * Grows a batch around the text that is due first, each time by the neighbour in length that saves most.
 *
 * A neighbour joins when that is cheaper than running it by itself, and the tokens of the batch do not become dearer by
 * it: with many waiting texts of many lengths it is then better off in another batch.
 */
export function formPadded<Item extends WindowItem>(
  window: LengthWindow<Item>,
  lead: Item,
  batching: ModelBatching,
): Formed<Item> {
  const { cost } = batching;
  const texts = [window.take(lead.tokens)];
  let draft: Draft = draftOf(batching, 1, lead.tokens, lead.tokens);
  for (;;) {
    let best: { readonly length: number; readonly draft: Draft; readonly savedMs: number } | undefined;
    const neighbours = [window.atMost(lead.tokens), window.above(lead.tokens)];
    for (const length of neighbours) {
      if (length === undefined) continue;
      const next = grown(batching, draft, length);
      const savedMs = draft.ms + cost.tripMs + cost.runMs(1, length) - next.ms;
      if ((!best || savedMs > best.savedMs) && isBetter(batching, draft, next, savedMs)) {
        best = { length, draft: next, savedMs };
      }
    }
    if (!best) return { texts, stop: whyNoMore(batching, draft, window) };
    texts.push(window.take(best.length));
    draft = best.draft;
  }
}

function draftOf({ cost }: ModelBatching, texts: number, longest: number, tokens: number): Draft {
  return { texts, longest, tokens, ms: cost.tripMs + cost.runMs(texts, longest) };
}

function grown(batching: ModelBatching, draft: Draft, length: number): Draft {
  return draftOf(batching, draft.texts + 1, Math.max(draft.longest, length), draft.tokens + length);
}

function isBetter({ limits }: ModelBatching, draft: Draft, next: Draft, savedMs: number): boolean {
  const padded = next.texts * next.longest;
  return (
    savedMs > 0 &&
    next.ms * draft.tokens <= draft.ms * next.tokens &&
    next.ms <= limits.targetLatencyMs &&
    padded <= limits.maxTokens &&
    padded - next.tokens <= limits.maxPadding * padded
  );
}

/** Had a text come that needs no padding, and not been taken, then the batch is full. */
function whyNoMore<Item extends WindowItem>(
  batching: ModelBatching,
  draft: Draft,
  window: LengthWindow<Item>,
): Formed<Item>['stop'] {
  if (window.size === 0) return 'emptied';
  const { cost } = batching;
  const next = grown(batching, draft, draft.longest);
  const savedMs = draft.ms + cost.tripMs + cost.runMs(1, draft.longest) - next.ms;
  return isBetter(batching, draft, next, savedMs) ? 'waste' : 'full';
}

/** Texts in the order they are due, each to be run by itself, as many as make the trip cheap. */
export function formUnpadded<Item extends WindowItem>(
  window: LengthWindow<Item>,
  { limits, cost }: ModelBatching,
): Formed<Item> {
  const enoughMs = Math.min(limits.targetLatencyMs, cost.tripMs / TRIP_SHARE);
  const texts: Item[] = [];
  let tokens = 0;
  let ms = 0;
  for (let next = window.first(); next; next = window.first()) {
    tokens += next.tokens;
    ms += cost.runMs(1, next.tokens);
    if (texts.length > 0 && (tokens > limits.maxTokens || ms > enoughMs)) return { texts, stop: 'full' };
    texts.push(window.take(next.tokens));
  }
  return { texts, stop: 'emptied' };
}
