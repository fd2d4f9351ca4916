import type { ModelsFile, TextModelFile } from '@sluice/contracts';
import { createCatalogue, type Catalogue } from '@sluice/api-gateway/composition';
import type { ServedPool, ServedTextModel } from '@sluice/ml-worker/composition';
import { createTokenizer, type TextModel } from '@sluice/models';

const POOL = 'cpu';
const CLASSES = ['interactive', 'standard'] as const;
/** Longest text, in tokens, of every model here. */
export const MAX_INPUT_TOKENS = 64;
/** Output that `chatty` is held for; what the workers report is none, so the hold is always above the use. */
const MAX_OUTPUT_TOKENS = 8;
/** A text that begins so ends the inference process, every time. */
export const POISON = '!';

/** Two models in one pool; a token of theirs is a byte. */
export const MODEL_NAMES = ['plain', 'chatty'] as const;

export const modelsFile: ModelsFile = {
  pools: { [POOL]: { classes: [...CLASSES] } },
  models: Object.fromEntries(MODEL_NAMES.map((name) => [name, { pool: POOL, version: '1' }])),
};

function modelOf(name: string): TextModel {
  const file: TextModelFile = {
    ...{ name, task: 'embedding', description: name, licence: 'none', source: 'none', precision: 'fp32' },
    tokenizer: { type: 'bytes' },
    maxInputTokens: MAX_INPUT_TOKENS,
    maxOutputTokens: name === 'chatty' ? MAX_OUTPUT_TOKENS : 0,
    quantisation: 'none',
    inputs: { inputIds: 'ids', attentionMask: 'mask' },
    output: { name: 'rows', dimensions: 1 },
  };
  return { file, directory: '', modelPath: '', name, version: '1' };
}

// Made once for all seeds: none of it ever changes.
const served: readonly ServedTextModel[] = await Promise.all(
  MODEL_NAMES.map(async (name) => {
    const model = modelOf(name);
    return { key: `${name}/1`, model, tokenizer: await createTokenizer(model) };
  }),
);

/** What the gateways know. */
export const catalogue: Catalogue = createCatalogue(
  served.map(({ model, tokenizer }) => ({
    ...{ name: model.name, version: '1', pool: POOL, description: '', classes: CLASSES },
    ...{ facts: model.file, tokenizer },
  })),
);

/** What the workers serve. */
export const servedPool: ServedPool = {
  pool: POOL,
  classes: CLASSES,
  models: new Map(served.map((main) => [main.model.name, { main }])),
  versions: served.map(({ key, model }) => ({ key, model })),
};

/** Most tokens that a job with this text is held for. */
export function heldTokensOf(model: string, text: string): number {
  return Buffer.byteLength(text) + (model === 'chatty' ? MAX_OUTPUT_TOKENS : 0);
}
