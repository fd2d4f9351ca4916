import type { ModelFile } from '@sluice/contracts';

/** One version of a model in the repository, its files found and its `model.yaml` read. Nothing is loaded yet. */
export interface Model {
  /** The parsed `model.yaml`. */
  readonly file: ModelFile;
  /** Absolute path of the version folder. */
  readonly directory: string;
  /** Absolute path of the ONNX file. */
  readonly modelPath: string;
  readonly name: string;
  /** A whole number in text, for example `1`. */
  readonly version: string;
}
