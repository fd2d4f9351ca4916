import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TextModel } from '@sluice/models';
import type { KeyedModel } from '../src/inference/inference-protocol.js';
import { characterModel } from './fixtures.js';

/** A model with a file of its own, and a folder for what is measured of it, which does not exist yet. */
export interface WeighedModel {
  readonly keyed: KeyedModel<TextModel>;
  readonly kept: string;
  remove(): Promise<void>;
}

export async function createWeighedModel(): Promise<WeighedModel> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-weighed-'));
  const { key, model } = characterModel();
  const modelPath = join(directory, 'model.onnx');
  await writeFile(modelPath, 'weights');
  return {
    keyed: { key, model: { ...model, directory, modelPath } },
    kept: join(directory, 'kept', 'here'),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}
