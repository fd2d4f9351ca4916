import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createByteTokenizer } from './byte-tokenizer.js';
import { tokenizerId } from './compatibility.js';
import type { TextModel } from './model.js';
import { unavailable } from './unavailable.js';
import { createUnigramTokenizer, type Vocabulary } from './unigram-tokenizer.js';

/**
 * A model's own tokenizer. The gateway counts and the worker encodes with the same code, so
 * `count(text) === encode(text).length` for every string, lone surrogates included.
 */
export interface Tokenizer {
  /** Token ids of `text`, not truncated and without special tokens; none for the empty text. */
  encode(text: string): Int32Array;
  /** How many ids `encode` would return, without making them. */
  count(text: string): number;
}

/** By `tokenizerId`, for as long as anybody has them. */
const made = new Map<string, WeakRef<Tokenizer>>();

/**
 * Loads the tokenizer that `model.yaml` names. Models whose tokenizers have the same id share one.
 *
 * @throws ServiceError `model_unavailable` when its vocabulary is missing or not one.
 */
export async function createTokenizer(model: TextModel): Promise<Tokenizer> {
  const id = await tokenizerId(model);
  const known = made.get(id)?.deref();
  if (known) return known;
  const tokenizer = await makeTokenizer(model);
  made.set(id, new WeakRef(tokenizer));
  return tokenizer;
}

async function makeTokenizer(model: TextModel): Promise<Tokenizer> {
  const { tokenizer } = model.file;
  switch (tokenizer.type) {
    case 'bytes':
      return createByteTokenizer();
    case 'unigram':
      return createUnigramTokenizer(await readVocabulary(model, tokenizer.vocabulary), tokenizer.reserved);
    default:
      return tokenizer satisfies never;
  }
}

async function readVocabulary(model: TextModel, file: string): Promise<Vocabulary> {
  const path = `${model.name}/${model.version}/${file}`;
  const vocabulary = await readFile(join(model.directory, file), 'utf8')
    .then((text): unknown => JSON.parse(text))
    .catch((cause: unknown) => {
      throw unavailable(`${path} cannot be read as JSON`, cause);
    });
  if (isVocabulary(vocabulary)) return vocabulary;
  throw unavailable(`${path} is not a list of [piece, log probability or null]`);
}

function isVocabulary(value: unknown): value is Vocabulary {
  const isEntry = (entry: unknown): boolean =>
    Array.isArray(entry) && typeof entry[0] === 'string' && (entry[1] === null || typeof entry[1] === 'number');
  return Array.isArray(value) && value.length > 0 && value.every(isEntry);
}
