/**
 * Runs models of tensors for the tests, by `openTensorSession` and by ONNX Runtime directly, in a process of its own: see
 * `session-process.mjs`.
 *
 * Request `{ id, repository, name, version, inputs: { shape, bytes }[] }`, answer `{ id, outputs, direct }`, both
 * `{ shape, bytes }[]`, or `{ id, code, detail }`. Without `inputs` the model is loaded only.
 */
import { openModelRepository } from '@sluice/models';
import { openTensorSession } from '@sluice/models/session';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const ARRAYS = {
  ...{ BOOL: Uint8Array, UINT8: Uint8Array, UINT16: Uint16Array, UINT32: Uint32Array, UINT64: BigUint64Array },
  ...{ INT8: Int8Array, INT16: Int16Array, INT32: Int32Array, INT64: BigInt64Array },
  ...{ FP16: Uint16Array, FP32: Float32Array, FP64: Float64Array },
};
const TYPES = {
  ...{ BOOL: 'bool', UINT8: 'uint8', UINT16: 'uint16', UINT32: 'uint32', UINT64: 'uint64' },
  ...{ INT8: 'int8', INT16: 'int16', INT32: 'int32', INT64: 'int64' },
  ...{ FP16: 'float16', FP32: 'float32', FP64: 'float64' },
};

const opened = new Map();

async function open({ repository, name, version }) {
  const model = await (await openModelRepository(repository)).find(name, version);
  const session = await openTensorSession(model, { threads: 1 });
  await session.warmUp();
  return { model, session, native: await InferenceSession.create(model.modelPath, { logSeverityLevel: 4 }) };
}

async function runDirectly({ model: { file }, native }, inputs) {
  const feeds = {};
  file.inputs.forEach(({ name, datatype }, at) => {
    const { shape, bytes } = inputs[at];
    const elements = new ARRAYS[datatype](Uint8Array.from(bytes).buffer);
    feeds[name] = new Tensor(TYPES[datatype], elements, shape);
  });
  const results = await native.run(feeds);
  return file.outputs.map(({ name }) => plain(results[name].dims, results[name].data));
}

function plain(shape, { buffer, byteOffset, byteLength }) {
  return { shape: [...shape], bytes: Uint8Array.from(new Uint8Array(buffer, byteOffset, byteLength)) };
}

async function answer(request) {
  const key = JSON.stringify([request.repository, request.name, request.version]);
  if (!opened.has(key)) opened.set(key, open(request));
  const loaded = await opened.get(key);
  if (!request.inputs) return {};
  const outputs = await loaded.session.run(request.inputs);
  return {
    outputs: outputs.map(({ shape, bytes }) => plain(shape, bytes)),
    direct: await runDirectly(loaded, request.inputs),
  };
}

process.on('message', (request) => {
  answer(request).then(
    (found) => process.send({ id: request.id, ...found }),
    (error) => process.send({ id: request.id, code: error.code ?? 'unknown', detail: error.message }),
  );
});
