import { buildDoubleArrayTrie } from './double-array-trie.js';
import { normalizeCompatibly } from './normalization.js';
import type { Tokenizer } from './tokenizer.js';

/** `[piece, log probability]` of each token; the index is the token id. */
export type Vocabulary = readonly (readonly [piece: string, logProbability: number | null])[];

const SEPARATOR = 0x2581; // ▁ begins every text and stands for its spaces
const SPACE = 0x20;
const UNKNOWN_ID = 0;
/** The symbol of every code point that no piece contains. */
const UNKNOWN_SYMBOL = 0;
const CODE_POINTS = 0x110000;
/** Texts up to this length share one workspace; longer ones bring their own, so that the memory does not stay. */
const SHARED_LENGTH = 4096;

interface Workspace {
  /** The text as symbols of the alphabet, one per code point. */
  readonly symbols: Uint16Array;
  /** Score of the best segmentation of the text before each position. */
  readonly best: Float64Array;
  /** Last token of that segmentation. */
  readonly token: Int32Array;
}

/**
 * SentencePiece unigram segmentation (Kudo 2018): the most probable sequence of pieces, by dynamic programming in time
 * linear in the text.
 *
 * The ids are those of the tokenizer published for Universal Sentence Encoder lite. It departs from SentencePiece in
 * ways that are kept, since the model was published with them:
 * - a missing log probability and an unknown character count 0; a run of unknown characters is one token, id 0;
 * - among equally good segmentations the one with the shorter last piece wins;
 * - a best score of exactly 0 is taken for "none yet", which matters to texts that begin with pieces of score 0, in
 *   practice with ":".
 *
 * Texts are normalized to NFKC first; see `normalizeCompatibly` for the one bound on that.
 *
 * @param reserved how many ids at the start are control tokens, which never occur in text.
 */
export function createUnigramTokenizer(vocabulary: Vocabulary, reserved: number): Tokenizer {
  const alphabet = createAlphabet(vocabulary.slice(reserved).map(([piece]) => piece));
  const toSymbols = (piece: string): number[] => Array.from(piece, (character) => alphabet.symbolOf(character));
  const keys = vocabulary.map(([piece], id) => [toSymbols(piece), id] as const).slice(reserved);
  const { base, check, value } = buildDoubleArrayTrie(keys, alphabet.size);
  const scores = Float64Array.from(vocabulary, ([, logProbability]) => logProbability ?? 0);
  const lengths = Int32Array.from(vocabulary, ([piece]) => Array.from(piece).length);
  lengths[UNKNOWN_ID] = 1;
  const shared = createWorkspace(SHARED_LENGTH);

  // The indexed reads below are in bounds by construction: positions by `length`, trie indices by its padding.

  /** Decides `best` and `token` of every position; those of a position are final when the loop reaches it. */
  function segment({ symbols, best, token }: Workspace, length: number): void {
    best.fill(0, 0, length + 1);
    for (let start = 0; start < length; start++) {
      const before = best[start] as number;
      let node = 0;
      let matched = false;
      for (let at = start; at < length && symbols[at] !== UNKNOWN_SYMBOL; at++) {
        const child = (base[node] as number) + (symbols[at] as number);
        if (check[child] !== node) break;
        node = child;
        const id = value[node] as number;
        if (id < 0) continue;
        matched = true;
        const total = before + (scores[id] as number);
        if (best[at + 1] === 0 || total >= (best[at + 1] as number)) {
          best[at + 1] = total;
          token[at + 1] = id;
        }
      }
      if (!matched && (best[start + 1] === 0 || before >= (best[start + 1] as number))) {
        best[start + 1] = before;
        token[start + 1] = UNKNOWN_ID;
      }
    }
  }

  /** Walks the segmentation back from the end; writes its ids to the end of `ids` when given. Returns how many. */
  function collect({ token }: Workspace, length: number, ids?: Int32Array): number {
    let count = 0;
    let afterUnknown = false;
    for (let end = length; end > 0;) {
      const id = token[end] as number;
      if (id !== UNKNOWN_ID || !afterUnknown) {
        count++;
        if (ids) ids[ids.length - count] = id;
      }
      afterUnknown = id === UNKNOWN_ID;
      end -= lengths[id] as number;
    }
    return count;
  }

  function analyse(text: string): { work: Workspace; length: number } {
    const normalized = normalizeCompatibly(text);
    const work = normalized.length < SHARED_LENGTH ? shared : createWorkspace(normalized.length + 1);
    const length = alphabet.read(normalized, work.symbols);
    segment(work, length);
    return { work, length };
  }

  return {
    encode(text) {
      const { work, length } = analyse(text);
      const ids = new Int32Array(collect(work, length));
      collect(work, length, ids);
      return ids;
    },
    count(text) {
      const { work, length } = analyse(text);
      return collect(work, length);
    },
  };
}

function createWorkspace(length: number): Workspace {
  return {
    symbols: new Uint16Array(length),
    best: new Float64Array(length + 1),
    token: new Int32Array(length + 1),
  };
}

interface Alphabet {
  /** Symbols are 1 … size. */
  readonly size: number;
  symbolOf(character: string): number;
  /** Writes the symbols of a text and its leading separator; returns how many, 0 for the empty text. */
  read(text: string, symbols: Uint16Array): number;
}

/** Numbers the characters that occur in pieces, so that the trie is dense. */
function createAlphabet(pieces: readonly string[]): Alphabet {
  const symbols = new Uint16Array(CODE_POINTS);
  let size = 0;
  for (const character of new Set(pieces.join(''))) symbols[character.codePointAt(0) ?? 0] = ++size;
  const separator = symbols[SEPARATOR] as number;

  return {
    size,
    symbolOf: (character) => symbols[character.codePointAt(0) ?? 0] as number,
    read(text, into) {
      if (text.length === 0) return 0;
      let length = 0;
      into[length++] = separator;
      for (let at = 0; at < text.length; at++) {
        const codePoint = text.codePointAt(at) as number;
        if (codePoint > 0xffff) at++; // a pair of surrogates is one character
        into[length++] = codePoint === SPACE ? separator : (symbols[codePoint] as number);
      }
      return length;
    },
  };
}
