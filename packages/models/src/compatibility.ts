import { join } from 'node:path';
import { digestOf } from './digests.js';
import type { Model } from './model.js';

/**
 * Why jobs that were accepted for one version cannot run on another; empty when they can. The gateway counts tokens before
 * it knows which version will run, and a tenant reads the output without asking which one did.
 *
 * @returns for example `has 256 output dimensions instead of 512`.
 */
export async function differences(accepted: Model, other: Model): Promise<readonly string[]> {
  const [before, after] = [accepted.file, other.file];
  return [
    ...(after.task === before.task ? [] : [`does ${after.task} instead of ${before.task}`]),
    ...(after.output.dimensions === before.output.dimensions
      ? []
      : [`has ${after.output.dimensions} output dimensions instead of ${before.output.dimensions}`]),
    ...(before.task === 'text-classification' && !isSameList(before.labels, after.labels) ? ['has other labels'] : []),
    ...((await tokenizerId(accepted)) === (await tokenizerId(other)) ? [] : ['has another tokenizer']),
    ...(after.maxInputTokens < before.maxInputTokens
      ? [`takes ${after.maxInputTokens} tokens instead of ${before.maxInputTokens}`]
      : []),
    ...(after.maxOutputTokens > before.maxOutputTokens
      ? [`may produce ${after.maxOutputTokens} tokens instead of ${before.maxOutputTokens}`]
      : []),
  ];
}

/** Two models with the same id have the same ids and counts for every text. */
export async function tokenizerId({ file: { tokenizer }, directory }: Model): Promise<string> {
  if (tokenizer.type === 'bytes') return 'bytes';
  return `unigram ${tokenizer.reserved} ${await digestOf(join(directory, tokenizer.vocabulary))}`;
}

function isSameList(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return a.length === b.length && a.every((entry, at) => entry === b[at]);
}
