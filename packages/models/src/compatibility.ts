import type { TensorSpec } from '@sluice/contracts';
import { digestIn } from './digests.js';
import { isTextModel, type Model, type TensorModel, type TextModel } from './model.js';
import { leastOutputTokens, shapeText } from './tensors/tensor-fit.js';
import { unavailable } from './unavailable.js';

/**
 * Why jobs that were accepted for one version cannot run on another; empty when they can. The gateway counts tokens before
 * it knows which version will run, and a tenant reads the output without asking which one did.
 *
 * @returns for example `has 256 output dimensions instead of 512`.
 */
export async function differences(accepted: Model, other: Model): Promise<readonly string[]> {
  const [before, after] = [accepted.file, other.file];
  return [
    ...(await differencesBy(WITHIN, accepted, other)),
    ...(after.maxInputTokens < before.maxInputTokens
      ? [`takes ${after.maxInputTokens} tokens instead of ${before.maxInputTokens}`]
      : []),
    ...(after.maxOutputTokens > before.maxOutputTokens
      ? [`may produce ${after.maxOutputTokens} tokens instead of ${before.maxOutputTokens}`]
      : []),
    ...differencesOfLeast(accepted, other),
  ];
}

/**
 * Makes sure that a version can take the place of the main version before it, in a program that runs. It may take less than that, as after
 * a step back: jobs with more are tried again and wait for a version that takes them. What both take is counted and answered alike.
 *
 * @throws ServiceError `model_unavailable`, saying in what the versions differ.
 */
export async function requireSameKind(name: string, before: Model, after: Model): Promise<void> {
  const reasons = await differencesBy(ALIKE, before, after);
  if (reasons.length === 0) return;
  throw unavailable(
    `${after.name}/${after.version} cannot take the place of version ${before.version} of ${name} without a restart: ` +
      `it ${reasons.join(', ')}; what differs in this needs a public name of its own`,
  );
}

/** How shapes may differ from those before, by whether jobs run with them. */
interface ShapeRules {
  readonly input: ShapeRule;
  readonly output: ShapeRule;
}

type ShapeRule = (before: TensorSpec, after: TensorSpec) => boolean;

/** What was taken must still be taken, what was promised must still be given: more of the first and less of the second is fine. */
const WITHIN: ShapeRules = { input: isWider, output: (before, after) => isWider(after, before) };
/** Some tensors are of both shapes. */
const ALIKE: ShapeRules = { input: canMeet, output: canMeet };

async function differencesBy(rules: ShapeRules, accepted: Model, other: Model): Promise<readonly string[]> {
  const [before, after] = [accepted.file.task, other.file.task];
  return [
    ...(after === before ? [] : [`does ${after} instead of ${before}`]),
    ...(await differencesByKind(rules, accepted, other)),
  ];
}

async function differencesByKind(rules: ShapeRules, accepted: Model, other: Model): Promise<readonly string[]> {
  if (isTextModel(accepted)) return isTextModel(other) ? differencesOfTexts(accepted, other) : [];
  return isTextModel(other) ? [] : differencesOfTensors(rules, accepted, other);
}

/** A job may be accepted for as few output tokens as the outputs of its version can have. */
function differencesOfLeast(accepted: Model, other: Model): readonly string[] {
  if (isTextModel(accepted) || isTextModel(other) || other.file.maxOutputTokens === 0) return [];
  const [before, after] = [leastOutputTokens(accepted.file), leastOutputTokens(other.file)];
  return after > before ? [`produces at least ${after} tokens instead of ${before}`] : [];
}

async function differencesOfTexts(accepted: TextModel, other: TextModel): Promise<readonly string[]> {
  const [before, after] = [accepted.file, other.file];
  return [
    ...(after.output.dimensions === before.output.dimensions
      ? []
      : [`has ${after.output.dimensions} output dimensions instead of ${before.output.dimensions}`]),
    ...(before.task === 'text-classification' && !isSameList(before.labels, after.labels) ? ['has other labels'] : []),
    ...((await tokenizerId(accepted)) === (await tokenizerId(other)) ? [] : ['has another tokenizer']),
  ];
}

function differencesOfTensors(
  rules: ShapeRules,
  { file: before }: TensorModel,
  { file: after }: TensorModel,
): readonly string[] {
  return [
    ...before.inputs.flatMap((spec) => specDifference('input', spec, after.inputs, rules)),
    ...after.inputs.flatMap(({ name }) => (hasName(before.inputs, name) ? [] : [`needs an input ${name}`])),
    ...before.outputs.flatMap((spec) => specDifference('output', spec, after.outputs, rules)),
    ...after.outputs.flatMap(({ name }) => (hasName(before.outputs, name) ? [] : [`has an output ${name} more`])),
    ...((after.maxOutputTokens === 0) === (before.maxOutputTokens === 0)
      ? []
      : [after.maxOutputTokens === 0 ? 'does not count its outputs' : 'counts its outputs']),
    ...(after.elementsPerToken === before.elementsPerToken
      ? []
      : [`counts ${after.elementsPerToken} elements as a token instead of ${before.elementsPerToken}`]),
  ];
}

function specDifference(
  kind: 'input' | 'output',
  before: TensorSpec,
  specs: readonly TensorSpec[],
  rules: ShapeRules,
): readonly string[] {
  const after = specs.find(({ name }) => name === before.name);
  if (!after) return [`has no ${kind} ${before.name}`];
  if (after.datatype === before.datatype && rules[kind](before, after)) return [];
  return [`has the ${kind} ${before.name} as ${described(after)} instead of ${described(before)}`];
}

/** Whether every tensor of the one is a tensor of the other. */
function isWider(one: TensorSpec, other: TensorSpec): boolean {
  return (
    one.shape.length === other.shape.length &&
    other.shape.every((length, axis) => length === -1 || length === one.shape[axis])
  );
}

function canMeet(one: TensorSpec, other: TensorSpec): boolean {
  return (
    one.shape.length === other.shape.length &&
    other.shape.every((length, axis) => length === -1 || one.shape[axis] === -1 || length === one.shape[axis])
  );
}

function hasName(specs: readonly TensorSpec[], wanted: string): boolean {
  return specs.some(({ name }) => name === wanted);
}

function described({ datatype, shape }: TensorSpec): string {
  return `${datatype} ${shapeText(shape)}`;
}

const tokenizerIds = new WeakMap<TextModel, Promise<string>>();

/**
 * Two models of texts with the same id have the same ids and counts for every text. n.b. of the files as they were when it was
 * first asked for this model: they may have been replaced, or be gone, while it is served.
 *
 * @throws ServiceError `model_unavailable` when the vocabulary cannot be read.
 */
export function tokenizerId(model: TextModel): Promise<string> {
  const known = tokenizerIds.get(model);
  if (known) return known;
  const id = readTokenizerId(model);
  tokenizerIds.set(model, id);
  id.catch(() => tokenizerIds.delete(model));
  return id;
}

async function readTokenizerId(model: TextModel): Promise<string> {
  const { tokenizer } = model.file;
  if (tokenizer.type === 'bytes') return 'bytes';
  return `unigram ${tokenizer.reserved} ${await digestIn(model, tokenizer.vocabulary)}`;
}

function isSameList(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return a.length === b.length && a.every((entry, at) => entry === b[at]);
}
