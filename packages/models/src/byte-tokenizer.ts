import type { Tokenizer } from './tokenizer.js';

/**
 * One token per UTF-8 byte, ids 0–255. A lone surrogate has no UTF-8 form and becomes the three bytes of U+FFFD, in
 * both functions.
 */
export function createByteTokenizer(): Tokenizer {
  return {
    encode: (text) => Int32Array.from(Buffer.from(text, 'utf8')),
    count: (text) => Buffer.byteLength(text, 'utf8'),
  };
}
