import { readFile } from 'node:fs/promises';
import { asTextModel, type TextModel } from '../model.js';
import { openModelRepository } from '../repository.js';
import { openSession } from '../session.js';
import { createTokenizer, type Tokenizer } from '../tokenizer.js';
import type { Reference, ReferenceCase, Verification, VerificationAnswer, VerificationTask } from './verification.js';

/** Forked by the build: answers one task with the distance of a model from its reference values, then ends. */
process.once('message', (task: VerificationTask) => {
  verify(task)
    .then((result): VerificationAnswer => ({ result }))
    .catch((error: unknown): VerificationAnswer => ({ problem: describe(error) }))
    .then((answer) => process.send?.(answer, () => process.disconnect()))
    .catch(() => (process.exitCode = 1));
});

async function verify(task: VerificationTask): Promise<Verification> {
  const model = asTextModel(await (await openModelRepository(task.repository)).find(task.name, task.version));
  const tokenizer = await createTokenizer(model);
  const { cases } = JSON.parse(await readFile(task.referencePath, 'utf8')) as Reference;
  const differentIds = cases.filter((each) => !hasSameIds(each, tokenizer)).map(({ text }) => shorten(text));
  const distances = await compare(model, tokenizer, cases);
  return {
    maxError: Math.max(0, ...distances.map(({ error }) => error)),
    minCosine: Math.min(1, ...distances.map(({ cosine }) => cosine)),
    tokenized: cases.filter(({ ids }) => ids).length,
    compared: distances.length,
    differentIds,
  };
}

function hasSameIds(reference: ReferenceCase, tokenizer: Tokenizer): boolean {
  if (!reference.ids) return true;
  const text = textOf(reference);
  const ids = tokenizer.encode(text);
  return tokenizer.count(text) === ids.length && JSON.stringify([...ids]) === JSON.stringify(reference.ids);
}

/** Runs every text with a reference output alone. */
async function compare(
  model: TextModel,
  tokenizer: Tokenizer,
  cases: readonly ReferenceCase[],
): Promise<{ error: number; cosine: number }[]> {
  const session = await openSession(model, { threads: 1 });
  const distances: { error: number; cosine: number }[] = [];
  for (const each of cases) {
    if (each.output === undefined) continue;
    const row = await session.run([tokenizer.encode(textOf(each))]);
    distances.push(distance(row, decode(each.output)));
  }
  await session.release();
  return distances;
}

function textOf({ text, repeat = 1 }: ReferenceCase): string {
  return text.repeat(repeat);
}

function decode(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
}

function distance(actual: Float32Array, expected: Float32Array): { error: number; cosine: number } {
  if (actual.length !== expected.length) throw new Error(`a row has ${actual.length} numbers, not ${expected.length}`);
  const dot = (a: Float32Array, b: Float32Array): number =>
    a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
  return {
    error: actual.reduce((largest, value, index) => Math.max(largest, Math.abs(value - (expected[index] ?? 0))), 0),
    cosine: dot(actual, expected) / Math.sqrt(dot(actual, actual) * dot(expected, expected)),
  };
}

function shorten(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
