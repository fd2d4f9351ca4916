import { createHash } from 'node:crypto';
import { loadDemoTexts } from '../../demo-data.js';
import { createRandom, type Random } from '../random.js';

/** What a job is about. */
export interface ModelInput {
  readonly model: string;
  readonly input: string | readonly string[];
  /** SHA-256 of both, hex. */
  readonly hash: string;
  /** Roughly the tokens that it has, to size limits by. */
  readonly estimatedTokens: number;
}

/** Inputs of all models and many lengths. Equal ones come again, so that their results can be compared. */
export interface Inputs {
  draw(random: Random): ModelInput;
  /** Estimated tokens of one, on average. */
  readonly meanTokens: number;
}

const SENTENCE_MODELS = [
  { model: 'use-lite-en', weight: 6 },
  { model: 'use-lite-en-int8', weight: 3 },
] as const;
const CODE_WEIGHT = 5;
const MEAN_DRAWS = 2_000;
/** Of a sentence model; guesslang counts bytes. */
const BYTES_PER_TOKEN = 5;

/** Reads the texts that the first start uses. */
export async function loadInputs(): Promise<Inputs> {
  const texts = await loadDemoTexts();
  const sentences = texts.filter(({ model }) => model === 'use-lite-en').map(({ input }) => input);
  const snippets = texts.filter(({ model }) => model === 'guesslang').map(({ input }) => input);
  const kinds = [
    ...SENTENCE_MODELS.map(({ model, weight }) => ({ weight, draw: (random: Random) => sentenceInput(model, random) })),
    { weight: CODE_WEIGHT, draw: codeInput },
  ];

  function sentenceInput(model: string, random: Random): ModelInput {
    const roll = random.next();
    if (roll < 0.6) return describe(model, random.pick(sentences));
    if (roll < 0.85) return describe(model, several(sentences, random, 8));
    return describe(model, several(sentences, random, 6).join(' '));
  }

  function codeInput(random: Random): ModelInput {
    const roll = random.next();
    if (roll < 0.75) return describe('guesslang', random.pick(snippets));
    if (roll < 0.9) return describe('guesslang', several(snippets, random, 3));
    return describe('guesslang', several(snippets, random, 6).join('\n'));
  }

  const draw = (random: Random): ModelInput => random.pick(kinds, ({ weight }) => weight).draw(random);
  return { draw, meanTokens: meanOf(draw) };
}

/** Neighbours from a place that comes again, so that the same lists do. */
function several(list: readonly string[], random: Random, most: number): readonly string[] {
  const start = random.between(0, 7) * most;
  return list.slice(start, start + random.between(2, most));
}

function describe(model: string, input: string | readonly string[]): ModelInput {
  const bytes = Buffer.byteLength([input].flat().join(''));
  return {
    model,
    input,
    hash: sha256(JSON.stringify([model, input])),
    estimatedTokens: Math.ceil(bytes / (model === 'guesslang' ? 1 : BYTES_PER_TOKEN)),
  };
}

function meanOf(draw: Inputs['draw']): number {
  const random = createRandom(1);
  const draws = Array.from({ length: MEAN_DRAWS }, () => draw(random).estimatedTokens);
  return draws.reduce((sum, tokens) => sum + tokens, 0) / MEAN_DRAWS;
}

/** SHA-256 of a text, hex. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
