import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { referencePath } from './stamp.js';
import type { Recipe, Tolerance } from './recipes.js';

/** What the original package computed for one text. */
export interface ReferenceCase {
  readonly text: string;
  /** How many times `text` stands behind itself; 1 when absent. */
  readonly repeat?: number;
  /** Token ids; absent where ids are bytes. */
  readonly ids?: readonly number[];
  /** Base64 of the float32 output row, little-endian; absent for texts that the model does not take. */
  readonly output?: string;
}

/** A file of `reference/`, written by `reference/compute.mjs`. */
export interface Reference {
  /** Version of each package that computed the values. */
  readonly packages: Readonly<Record<string, string>>;
  readonly cases: readonly ReferenceCase[];
}

/** The task of the verifying process. */
export interface VerificationTask {
  readonly repository: string;
  readonly name: string;
  readonly version: string;
  readonly referencePath: string;
}

/** The distance of a model from the original. */
export interface Verification extends Tolerance {
  /** How many texts were tokenized and how many of them run. */
  readonly tokenized: number;
  readonly compared: number;
  /** The texts, shortened, whose token ids differ. */
  readonly differentIds: readonly string[];
}

export type VerificationAnswer = { readonly result: Verification } | { readonly problem: string };

/**
 * Compares a model with the reference values. It runs in a process of its own, since a session blocks its process and
 * a broken model could end it.
 *
 * @throws Error saying what is off when the model does not load or is further from the original than the tolerance.
 */
export async function verifyModel(repository: string, recipe: Recipe): Promise<Verification> {
  const { name, version, tolerance } = recipe;
  const task: VerificationTask = { repository, name, version, referencePath: referencePath(recipe.reference) };
  const result = await askChild(task);
  const problems = problemsOf(result, tolerance);
  if (problems.length === 0) return result;
  throw new Error(`${name}/${version} does not compute what the original does: ${problems.join('; ')}`);
}

/** What is outside of the tolerance; nothing when the model is right. A number that is not finite is outside. */
export function problemsOf(result: Verification, tolerance: Tolerance): string[] {
  const problems: string[] = [];
  if (result.compared === 0) problems.push('no reference value was compared');
  if (!(result.maxError <= tolerance.maxError)) {
    problems.push(`the largest error is ${result.maxError}, allowed is ${tolerance.maxError}`);
  }
  if (!(result.minCosine >= tolerance.minCosine)) {
    problems.push(`the smallest cosine is ${result.minCosine}, at least ${tolerance.minCosine} is needed`);
  }
  if (result.differentIds.length > 0) {
    problems.push(`${result.differentIds.length} texts have other token ids, first ${result.differentIds[0]}`);
  }
  return problems;
}

/** The compiled program, also when this file is run from its source by a test. */
const VERIFY_PROCESS = fileURLToPath(new URL('../../dist/builder/verify-process.js', import.meta.url));

async function askChild(task: VerificationTask): Promise<Verification> {
  const child = fork(VERIFY_PROCESS, { execArgv: [] });
  const closed = once(child, 'close');
  let answer: VerificationAnswer | undefined;
  child.on('message', (message) => (answer = message as VerificationAnswer));
  child.send(task);
  const [code, signal] = (await closed) as [number | null, string | null];
  if (answer && 'result' in answer) return answer.result;
  const reason = answer?.problem ?? `its process ended with ${signal ?? `code ${code}`}`;
  throw new Error(`${task.name}/${task.version} could not be checked: ${reason}`);
}
