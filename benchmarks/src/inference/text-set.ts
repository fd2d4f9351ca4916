import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TextModel, Tokenizer } from '@sluice/models';
import { ROOT } from '@sluice/scripts';
import { percentile } from '../harness/statistics.js';
import { proseOf } from './prose.js';

/** Texts of one model, each with the model's own token ids. */
export interface TextSet {
  readonly model: TextModel;
  readonly texts: readonly string[];
  /** By position of the text. */
  readonly sequences: readonly Int32Array[];
  readonly tokens: number;
  /** For people: how many, how long. */
  readonly description: string;
  /** The start of a SHA-256 over all texts: the same where the same packages are installed. */
  readonly digest: string;
}

/** Where texts of a kind come from. */
export interface TextSource {
  /** Of the files that are read. */
  readonly extensions: readonly string[];
  readonly textsOf: (content: string) => readonly string[];
}

/** Paragraphs of the installed packages' documentation. */
export const PROSE: TextSource = { extensions: ['.md'], textsOf: proseOf };
/** Whole source files of the installed packages. */
export const CODE: TextSource = {
  extensions: ['.js', '.cjs', '.mjs', '.ts', '.json', '.yml', '.css', '.html', '.sh', '.py', '.c', '.cc', '.h'],
  textsOf: (content) => [content],
};

/** A file that is larger holds no text that a model takes. */
const LARGEST_FILE = 64 * 1024;

export interface TextSetOptions {
  readonly model: TextModel;
  readonly tokenizer: Tokenizer;
  readonly source: TextSource;
  readonly count: number;
  /** Texts of more tokens are left out; what the model takes when absent. */
  readonly maxTokens?: number;
}

/**
 * Chooses real texts of mixed length from the packages that are installed here. The choice is by the digest of the text: it looks
 * random, and is the same wherever the same versions are installed.
 *
 * @throws Error when there are not enough.
 */
export async function loadTextSet(options: TextSetOptions): Promise<TextSet> {
  const { model, tokenizer, source, count, maxTokens = model.file.maxInputTokens } = options;
  const byDigest = new Map<string, string>();
  for (const path of await sourceFiles(join(ROOT, 'node_modules'), source.extensions)) {
    const content = await readFile(path, 'utf8');
    if (content.length > LARGEST_FILE) continue;
    for (const text of source.textsOf(content)) byDigest.set(digestOf(text), text);
  }
  const texts: string[] = [];
  const sequences: Int32Array[] = [];
  for (const digest of [...byDigest.keys()].sort()) {
    const text = byDigest.get(digest) ?? '';
    const sequence = tokenizer.encode(text);
    if (sequence.length === 0 || sequence.length > maxTokens) continue;
    texts.push(text);
    sequences.push(sequence);
    if (texts.length === count) return { model, texts, sequences, ...summaryOf(texts, sequences) };
  }
  throw new Error(`The installed packages hold only ${texts.length} of ${count} texts for ${model.name}.`);
}

/** Some of a set, for a search or a quick run: every `step`th text, which keeps the mix of lengths. */
export function sampleOf({ model, texts, sequences }: TextSet, step: number): TextSet {
  const every = <Item>(items: readonly Item[]): readonly Item[] => items.filter((_, index) => index % step === 0);
  return { model, texts: every(texts), sequences: every(sequences), ...summaryOf(every(texts), every(sequences)) };
}

function summaryOf(
  texts: readonly string[],
  sequences: readonly Int32Array[],
): Pick<TextSet, 'tokens' | 'description' | 'digest'> {
  const lengths = Float64Array.from(sequences, ({ length }) => length).sort();
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const marks = [0.05, 0.5, 0.95].map((share) => percentile(lengths, share).toLocaleString('en-US'));
  return {
    tokens,
    description: `${count(texts.length)} texts, ${count(tokens)} tokens, p5 ${marks[0]}, p50 ${marks[1]}, p95 ${marks[2]}`,
    digest: digestOf(texts.join('\0')).slice(0, 12),
  };
}

/** Regular files below a folder; links, such as those to this repository's own packages, are not followed. */
async function sourceFiles(folder: string, extensions: readonly string[]): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && extensions.some((extension) => entry.name.endsWith(extension)))
    .map((entry) => join(entry.parentPath, entry.name));
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}
