/**
 * Puts the model `cosine` into a model repository: cosines of the rows of two matrices. Any ONNX file would do; this one is small
 * enough to be written here.
 *
 * usage: node write-model.mjs [repository]
 */
import { copyFile, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createOnnxGraph } from '@sluice/models/onnx-graph';

const here = fileURLToPath(new URL('.', import.meta.url));
const repository = resolve(process.argv[2] ?? join(here, '../../.local/models'));

function cosineOnnx() {
  const graph = createOnnxGraph('cosine');
  const queries = graph.input('queries', 'float32', ['queries', 'dimensions']);
  const documents = graph.input('documents', 'float32', ['documents', 'dimensions']);
  const ofLengthOne = (rows) => graph.op('Div', [rows, graph.op('ReduceL2', [rows], { axes: [1], keepdims: 1 })]);
  const columns = graph.op('Transpose', [ofLengthOne(documents)], { perm: [1, 0] });
  const scores = graph.op('MatMul', [ofLengthOne(queries), columns]);
  graph.output(scores, 'scores', 'float32', ['queries', 'documents']);
  graph.output(graph.op('ArgMax', [scores], { axis: 1, keepdims: 0 }), 'nearest', 'int64', ['queries']);
  return graph.build();
}

const place = join(repository, 'cosine', '1');
if (await stat(place).catch(() => undefined)) {
  console.error(`${place} is there already; a change of a model is a new version`);
  process.exit(1);
}

// Made aside and renamed into place, so that nobody who looks at the repository meets half of it.
await mkdir(join(repository, 'cosine'), { recursive: true });
const work = await mkdtemp(join(repository, '.cosine-'));
try {
  // n.b. nobody else may read `work` itself.
  const finished = join(work, '1');
  await mkdir(finished);
  await writeFile(join(finished, 'model.onnx'), cosineOnnx());
  await copyFile(join(here, 'model.yaml'), join(finished, 'model.yaml'));
  await rename(finished, place);
} finally {
  await rm(work, { recursive: true, force: true });
}
console.log(`wrote ${place}`);
