import { ServiceError } from '@sluice/contracts';

/** Words of ONNX Runtime about types and axes of an input, which its model knows as well. */
const ABOUT_SHAPES = /^(?:Unexpected input data type|Invalid rank for input|Got invalid dimensions for input)\b[^\n]*/;
const ABOUT_A_NODE = /^Non-zero status code returned while running (\w+) node\. Name:'([^'\n]*)'/;

/**
 * What a run that ONNX Runtime refused is told as. n.b. its words go to logs, and may hold values of the input, for example an
 * index that is out of bounds: only what says where it went wrong is taken from them.
 */
export function runFailure(error: unknown): ServiceError {
  const words = error instanceof Error ? error.message : '';
  return new ServiceError('inference_failed', 'The model could not process the input', {
    cause: new Error(placeIn(words)),
  });
}

function placeIn(words: string): string {
  const [, operator, name] = ABOUT_A_NODE.exec(words) ?? [];
  if (operator !== undefined) return `a node of ${operator}${name ? ` named ${name}` : ''} failed`;
  return ABOUT_SHAPES.exec(words)?.[0] ?? 'ONNX Runtime failed, and did not name a node';
}
