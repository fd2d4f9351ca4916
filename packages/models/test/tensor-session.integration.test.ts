import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DATATYPES, type Datatype, type TensorSpec } from '@sluice/contracts';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { createOnnxGraph, type ElementType, type OnnxGraph } from '../src/builder/onnx-graph.js';
import { tensorSize, type TensorBytes } from '../src/tensors/tensor-data.js';

const TYPES: Readonly<Record<Datatype, ElementType>> = {
  ...{ BOOL: 'bool', UINT8: 'uint8', UINT16: 'uint16', UINT32: 'uint32', UINT64: 'uint64' },
  ...{ INT8: 'int8', INT16: 'int16', INT32: 'int32', INT64: 'int64' },
  ...{ FP16: 'float16', FP32: 'float32', FP64: 'float64' },
};

interface Answer {
  readonly id: number;
  readonly outputs: readonly TensorBytes[];
  readonly direct: readonly TensorBytes[];
  readonly code?: string;
  readonly detail?: string;
}

let root: string;
let child: ChildProcess;
let requests = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-tensors-'));
  child = fork(fileURLToPath(new URL('tensor-session-process.mjs', import.meta.url)), {
    execArgv: [],
    serialization: 'advanced',
  });
});

afterAll(async () => {
  const ended = once(child, 'exit');
  child.disconnect();
  await ended;
  await rm(root, { recursive: true });
});

interface Written {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly graph: (graph: OnnxGraph) => void;
}

async function write(name: string, { inputs, outputs, graph: fill }: Written): Promise<void> {
  const folder = join(root, name, '1');
  const graph = createOnnxGraph(name);
  fill(graph);
  const about = { name, task: 'tensors', description: 'For tests', licence: 'none', source: 'none', precision: 'fp32' };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.onnx'), graph.build());
  await writeFile(join(folder, 'model.yaml'), stringify({ ...about, inputs, outputs, maxInputTokens: 1_000 }));
}

/** Rejects with `code: detail` of the child's error. */
async function run(name: string, inputs?: readonly TensorBytes[]): Promise<Answer> {
  const id = requests++;
  const answered = new Promise<Answer>((resolve) => {
    const hear = (answer: unknown): void => {
      if ((answer as Answer).id !== id) return;
      child.off('message', hear);
      resolve(answer as Answer);
    };
    child.on('message', hear);
  });
  child.send({ id, repository: root, name, version: '1', inputs });
  const answer = await answered;
  if (answer.code !== undefined) throw new Error(`${answer.code}: ${answer.detail}`);
  return answer;
}

const float = (...values: number[]): TensorBytes => ({
  shape: [values.length],
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

const spec = (name: string, shape: number[], datatype: Datatype = 'FP32'): TensorSpec => ({ name, datatype, shape });

/** A model with an input and an output of one number each. */
const twice = (facts: Partial<Pick<Written, 'inputs' | 'outputs'>> = {}): Written => ({
  inputs: [spec('x', [-1])],
  outputs: [spec('y', [-1])],
  ...facts,
  graph(graph) {
    const x = graph.input('x', 'float32', ['n']);
    graph.output(graph.op('Add', [x, x]), 'y', 'float32', ['n']);
    graph.output(graph.op('Neg', [x]), 'z', 'float32', ['n']);
  },
});

describe('a session of tensors', () => {
  it('gives what ONNX Runtime gives for every type and shape, bit by bit', async () => {
    // Every input stacked upon itself: an operator that all types have.
    await write('stacks', {
      inputs: DATATYPES.map((type) => spec(`in_${type}`, [-1, -1], type)),
      outputs: DATATYPES.map((type) => spec(`out_${type}`, [-1, -1], type)),
      graph(graph) {
        for (const type of DATATYPES) {
          const value = graph.input(`in_${type}`, TYPES[type], [`rows_${type}`, `columns_${type}`]);
          const stack = graph.op('Concat', [value, value], { axis: 0 });
          graph.output(stack, `out_${type}`, TYPES[type], [`stacked_${type}`, `columns_${type}`]);
        }
      },
    });
    const axis = fc.integer({ min: 1, max: 9 });
    const tensorOf = (type: Datatype): fc.Arbitrary<TensorBytes> =>
      fc.tuple(axis, axis).chain((shape) => {
        const length = tensorSize(type, shape);
        const bytes = fc.uint8Array({ minLength: length, maxLength: length, max: type === 'BOOL' ? 1 : 255 });
        return bytes.map((drawn) => ({ shape, bytes: drawn }));
      });
    const property = fc.asyncProperty(fc.tuple(...DATATYPES.map(tensorOf)), async (inputs) => {
      const { outputs, direct } = await run('stacks', inputs);
      expect(outputs).toEqual(direct);
      inputs.forEach(({ shape: [rows = 0, columns = 0], bytes }, at) => {
        expect(outputs[at]).toEqual({ shape: [2 * rows, columns], bytes: Uint8Array.from([...bytes, ...bytes]) });
      });
    });
    await fc.assert(property, { numRuns: 60 });
  });

  it('refuses an output whose shape no message could tell, though it is empty, or that no memory is large enough for', async () => {
    await write('sized', {
      inputs: [spec('axes', [2], 'INT64')],
      outputs: [spec('y', [-1, -1])],
      graph(graph) {
        const axes = graph.input('axes', 'int64', [2]);
        graph.output(graph.op('ConstantOfShape', [axes]), 'y', 'float32', ['rows', 'columns']);
      },
    });
    const axes = (...lengths: bigint[]): TensorBytes => ({
      shape: [lengths.length],
      bytes: new Uint8Array(BigInt64Array.from(lengths).buffer),
    });
    expect((await run('sized', [axes(0n, 2n ** 31n - 1n)])).outputs[0]?.shape).toEqual([0, 2 ** 31 - 1]);
    await expect(run('sized', [axes(0n, 2n ** 31n)])).rejects.toThrow(
      'inference_failed: The output y came out as float32 [0, 2147483648] instead of FP32 [-1, -1].',
    );
    // More than there are addresses.
    await expect(run('sized', [axes(2n ** 23n, 2n ** 23n)])).rejects.toThrow(
      'inference_failed: The model could not process the input',
    );
  });

  it('takes scalars, inputs in the order of model.yaml and bytes from anywhere in a buffer', async () => {
    await write('scaled', {
      inputs: [spec('factor', []), spec('x', [-1, 2])],
      outputs: [spec('y', [-1, 2])],
      graph(graph) {
        const x = graph.input('x', 'float32', ['n', 2]);
        const factor = graph.input('factor', 'float32', []);
        graph.output(graph.op('Mul', [x, factor]), 'y', 'float32', ['n', 2]);
      },
    });
    const unaligned = new Uint8Array(17).subarray(1);
    unaligned.set(new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
    const inputs = [
      { ...float(2), shape: [] },
      { shape: [2, 2], bytes: unaligned },
    ];
    const { outputs } = await run('scaled', inputs);
    expect(outputs).toEqual([{ ...float(2, 4, 6, 8), shape: [2, 2] }]);
  });

  it('computes only the outputs that model.yaml names', async () => {
    await write('twice', twice());
    expect((await run('twice', [float(1, 2)])).outputs).toEqual([float(2, 4)]);
    await write('negated', twice({ outputs: [spec('z', [-1])] }));
    expect((await run('negated', [float(1, 2)])).outputs).toEqual([float(-1, -2)]);
  });

  it('runs the model of the example', async () => {
    const program = fileURLToPath(new URL('../../../examples/tensors/write-model.mjs', import.meta.url));
    expect(await once(fork(program, [root], { execArgv: [], silent: true }), 'exit')).toEqual([0, null]);
    expect(await once(fork(program, [root], { execArgv: [], silent: true }), 'exit')).toEqual([1, null]);
    expect((await readdir(root)).filter((name) => name.includes('cosine'))).toEqual(['cosine']);
    const queries = { ...float(3, 0), shape: [1, 2] };
    const documents = { ...float(0, 1, 3, 4, 5, 0), shape: [3, 2] };
    const { outputs } = await run('cosine', [queries, documents]);
    expect(outputs[0]).toEqual({ ...float(0, 0.6, 1), shape: [1, 3] });
    expect(outputs[1]).toEqual({ shape: [1], bytes: new Uint8Array(BigInt64Array.of(2n).buffer) });
  });

  it('gives numbers that are not finite as they are', async () => {
    await write('inverse', {
      inputs: [spec('x', [-1])],
      outputs: [spec('y', [-1])],
      graph: (graph) => graph.output(graph.op('Log', [graph.input('x', 'float32', ['n'])]), 'y', 'float32', ['n']),
    });
    expect((await run('inverse', [float(0, 1)])).outputs).toEqual([float(-Infinity, 0)]);
  });

  it('says which run the model refused, and which output is not what model.yaml says', async () => {
    await write('product', {
      inputs: [spec('a', [-1, -1]), spec('b', [-1, -1])],
      outputs: [spec('y', [3, -1])],
      graph(graph) {
        const factors = [graph.input('a', 'float32', ['n', 'k']), graph.input('b', 'float32', ['k', 'm'])];
        graph.output(graph.op('MatMul', factors), 'y', 'float32', ['rows', 'm']);
      },
    });
    const matrix = (rows: number, columns: number): TensorBytes => ({
      shape: [rows, columns],
      bytes: new Uint8Array(4 * rows * columns),
    });
    expect((await run('product', [matrix(3, 2), matrix(2, 5)])).outputs[0]?.shape).toEqual([3, 5]);
    const odd = run('product', [matrix(3, 2), matrix(3, 5)]);
    await expect(odd).rejects.toThrow(/^inference_failed: The model could not process the input/);
    await expect(run('product', [matrix(2, 2), matrix(2, 5)])).rejects.toThrow(
      'inference_failed: The output y came out as float32 [2, 5] instead of FP32 [3, -1].',
    );
  });

  it.each<[string, Partial<Pick<Written, 'inputs' | 'outputs'>>, string]>([
    [
      'another name',
      { inputs: [spec('a', [-1])] },
      'has no input a; it has x; it has an input x, which its model.yaml',
    ],
    ['an input more', { inputs: [spec('x', [-1]), spec('mask', [-1])] }, 'has no input mask; it has x'],
    ['another type', { inputs: [spec('x', [-1], 'FP64')] }, 'has an input x of float32; its model.yaml says FP64'],
    ['more axes', { inputs: [spec('x', [-1, 2])] }, 'has an input x of the shape [-1]; its model.yaml says [-1, 2]'],
    ['an unknown output', { outputs: [spec('w', [-1])] }, 'has no output w; it has y, z'],
    ['another type of an output', { outputs: [spec('y', [-1], 'INT8')] }, 'has an output y of float32; its model.yaml'],
  ])('is refused for a model.yaml with %s', async (label, facts, expected) => {
    const name = `wrong-${label.replaceAll(' ', '-')}`;
    await write(name, twice(facts));
    await expect(run(name)).rejects.toThrow(`model_unavailable: ${name}/1/model.onnx ${expected}`);
  });

  /** `y` is 5 zeros for an `x` of zeros, however long that is; ONNX Runtime cannot know before it runs. */
  const five = (y: TensorSpec, x: TensorSpec): Written => ({
    inputs: [x],
    outputs: [y],
    graph(graph) {
      const sum = graph.op('ReduceSum', [graph.input('x', 'float32', ['n'])], { keepdims: 1 });
      const length = graph.op('Add', [graph.op('Cast', [sum], { to: 7 }), graph.integers(5)]);
      graph.output(graph.op('ConstantOfShape', [length]), 'y', 'float32', ['unknown']);
    },
  });

  it.each<[string, Written, string | undefined]>([
    [
      'that is as long as a free one of an input',
      twice({ outputs: [spec('y', [7])] }),
      'float32 [1] instead of FP32 [7]',
    ],
    ['whatever the inputs are', five(spec('y', [7]), spec('x', [-1])), 'float32 [5] instead of FP32 [7]'],
    ['of inputs that have no free one', five(spec('y', [7]), spec('x', [3])), 'float32 [5] instead of FP32 [7]'],
    ['rightly', five(spec('y', [5]), spec('x', [-1])), undefined],
    [
      'that follows from inputs of one length',
      twice({ inputs: [spec('x', [7])], outputs: [spec('y', [7])] }),
      undefined,
    ],
  ])('is warmed up, which shows an output axis that model.yaml fixes %s', async (label, written, expected) => {
    const name = `fixed-${label.replaceAll(' ', '-')}`;
    await write(name, written);
    if (expected === undefined) await expect(run(name)).resolves.toBeDefined();
    else await expect(run(name)).rejects.toThrow(`model_unavailable: The output y came out as ${expected}.`);
  });

  it('is refused for an axis that is said to be free and is not', async () => {
    await write('pairs', {
      inputs: [spec('x', [-1])],
      outputs: [spec('y', [-1])],
      graph: (graph) => graph.output(graph.op('Neg', [graph.input('x', 'float32', [2])]), 'y', 'float32', [2]),
    });
    await expect(run('pairs')).rejects.toThrow('has an input x of the shape [2]; its model.yaml says [-1]');
  });
});
