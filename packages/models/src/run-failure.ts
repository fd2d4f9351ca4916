import { totalmem } from 'node:os';
import { ServiceError } from '@sluice/contracts';

/** Words of ONNX Runtime about types and axes of an input, which its model knows as well. */
const ABOUT_SHAPES = /^(?:Unexpected input data type|Invalid rank for input|Got invalid dimensions for input)\b[^\n]*/;
const ABOUT_A_NODE = /^Non-zero status code returned while running (\w+) node\. Name:'([^'\n]*)'/;
/** Words of whatever allocates: the C++ library, the two arenas of ONNX Runtime, CUDA and V8. */
const ABOUT_MEMORY =
  /std::bad_alloc|Failed to allocate memory|is smaller than requested bytes of|ran out of memory|CUDA[^\n]*out of memory|Array buffer allocation failed/;
const REQUESTED = /requested buffer of size (\d+)/;

/**
 * What a run that ONNX Runtime did not do is told as: `inference_crashed` when there was no memory for it, which may be another's fault
 * unless it wanted more than the machine has, else `inference_failed`. n.b. its words go to logs, and may hold values of the input, for example an
 * index that is out of bounds: only what says where it went wrong is taken from them.
 */
export function runFailure(error: unknown): ServiceError {
  const words = error instanceof Error ? error.message : '';
  const cause = new Error(placeIn(words));
  if (ABOUT_MEMORY.test(words) && !(Number(REQUESTED.exec(words)?.[1]) > totalmem()))
    return new ServiceError('inference_crashed', 'There was no memory for the run', { cause });
  return new ServiceError('inference_failed', 'The model could not process the input', { cause });
}

function placeIn(words: string): string {
  const [, operator, name] = ABOUT_A_NODE.exec(words) ?? [];
  if (operator !== undefined) return `a node of ${operator}${name ? ` named ${name}` : ''} failed`;
  return ABOUT_SHAPES.exec(words)?.[0] ?? 'ONNX Runtime failed, and did not name a node';
}
