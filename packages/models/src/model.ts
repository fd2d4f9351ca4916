import type { ModelFile, TensorModelFile, TextModelFile } from '@sluice/contracts';

/** One version of a model in the repository, its files found and its `model.yaml` read. Nothing is loaded yet. */
interface ModelOf<File extends ModelFile> {
  /** The parsed `model.yaml`. */
  readonly file: File;
  /** Absolute path of the version folder. */
  readonly directory: string;
  /** Absolute path of the ONNX file. */
  readonly modelPath: string;
  readonly name: string;
  /** A whole number in text, for example `1`. */
  readonly version: string;
}

export type TextModel = ModelOf<TextModelFile>;
export type TensorModel = ModelOf<TensorModelFile>;
export type Model = TextModel | TensorModel;

export function isTextModel(model: Model): model is TextModel {
  return model.file.task !== 'tensors';
}

/** The same model, known to be one of texts. Throws an error when it is not. */
export function asTextModel(model: Model): TextModel {
  if (isTextModel(model)) return model;
  throw new Error(`${model.name} is no model of texts`);
}
