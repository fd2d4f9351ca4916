import { bytesField, encodeMessage, floatField, intField, messageField, stringField, type Field } from './protobuf.js';

/**
 * Builds an ONNX model in memory. Field numbers are those of onnx/onnx.proto; operators, their inputs and attributes
 * are those of onnx/docs/Operators.md at opset 17. The same calls give the same bytes.
 */

const IR_VERSION = 8;
const OPSET = 17;

/** TensorProto.DataType. */
const DATA_TYPES = {
  ...{ float32: 1, uint8: 2, int8: 3, uint16: 4, int16: 5, int32: 6, int64: 7 },
  ...{ bool: 9, float16: 10, float64: 11, uint32: 12, uint64: 13 },
} as const;
export type ElementType = keyof typeof DATA_TYPES;
/** `to` of the Cast operator for float32. */
export const CAST_TO_FLOAT32 = DATA_TYPES.float32;

/** AttributeProto.AttributeType. */
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_INTS = 7;

/** A whole number, several, or a float, which has to say so: `axis: 1` and `epsilon: { float: 1 }` differ in type. */
export type Attribute = number | readonly number[] | { readonly float: number };
/** The length of an axis; a name is an axis of any length. */
export type Axis = number | string;
/** The name of a value in the graph. */
export type Value = string;

export interface OnnxGraph {
  /** Declares an input of the model. */
  input(name: string, type: ElementType, shape: readonly Axis[]): Value;
  /** A constant. `data` is row-major and little-endian, its length the product of `shape`. */
  constant(shape: readonly number[], data: Float32Array | Int8Array | BigInt64Array): Value;
  /** An int64 constant `[values.length]`, as axes, shapes and bounds are given to operators. */
  integers(...values: readonly number[]): Value;
  /** A float32 scalar. */
  scalar(value: number): Value;
  /** Adds an operator with one output. */
  op(type: string, inputs: readonly Value[], attributes?: Readonly<Record<string, Attribute>>): Value;
  /** Adds an operator with three outputs. */
  op3(
    type: string,
    inputs: readonly Value[],
    attributes?: Readonly<Record<string, Attribute>>,
  ): readonly [Value, Value, Value];
  /** Declares `value` an output of the model, under a name of its own. */
  output(value: Value, name: string, type: ElementType, shape: readonly Axis[]): void;
  /** The serialised ModelProto. */
  build(): Buffer;
}

/** @param name of the graph and of the producer's model; visible in viewers only. */
export function createOnnxGraph(name: string): OnnxGraph {
  const nodes: Field[] = [];
  const initializers: Field[] = [];
  const inputs: Field[] = [];
  const outputs: Field[] = [];
  let values = 0;

  const nextValue = (prefix: string): Value => `${prefix}_${values++}`;

  function addNode(
    type: string,
    from: readonly Value[],
    to: readonly Value[],
    attributes: Readonly<Record<string, Attribute>>,
  ): void {
    nodes.push(
      messageField(1, [
        ...from.map((value) => stringField(1, value)),
        ...to.map((value) => stringField(2, value)),
        stringField(4, type),
        ...Object.entries(attributes).map(([key, value]) =>
          messageField(5, [stringField(1, key), ...attribute(value)]),
        ),
      ]),
    );
  }

  function constant(shape: readonly number[], data: Float32Array | Int8Array | BigInt64Array): Value {
    const length = shape.reduce((product, axis) => product * axis, 1);
    if (data.length !== length) throw new Error(`${data.length} numbers cannot have the shape [${shape.join(',')}]`);
    const value = nextValue('constant');
    initializers.push(
      messageField(5, [
        ...shape.map((axis) => intField(1, axis)),
        intField(2, DATA_TYPES[elementTypeOf(data)]),
        stringField(8, value),
        bytesField(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
      ]),
    );
    return value;
  }

  return {
    input(inputName, type, shape) {
      inputs.push(valueInfo(11, inputName, type, shape));
      return inputName;
    },
    constant,
    integers: (...numbers) => constant([numbers.length], BigInt64Array.from(numbers, BigInt)),
    scalar: (value) => constant([], Float32Array.of(value)),
    op(type, from, attributes = {}) {
      const value = nextValue(type);
      addNode(type, from, [value], attributes);
      return value;
    },
    op3(type, from, attributes = {}) {
      const three = [nextValue(type), nextValue(type), nextValue(type)] as const;
      addNode(type, from, three, attributes);
      return three;
    },
    output(value, outputName, type, shape) {
      addNode('Identity', [value], [outputName], {});
      outputs.push(valueInfo(12, outputName, type, shape));
    },
    build() {
      const graph = [...nodes, stringField(2, name), ...initializers, ...inputs, ...outputs];
      const opset = [stringField(1, ''), intField(2, OPSET)];
      return encodeMessage([
        intField(1, IR_VERSION),
        stringField(2, 'sluice'),
        messageField(7, graph),
        messageField(8, opset),
      ]);
    },
  };
}

function elementTypeOf(data: Float32Array | Int8Array | BigInt64Array): ElementType {
  if (data instanceof Float32Array) return 'float32';
  return data instanceof Int8Array ? 'int8' : 'int64';
}

/** The value fields of an AttributeProto. */
function attribute(value: Attribute): Field[] {
  if (typeof value === 'number') return [intField(3, value), intField(20, ATTRIBUTE_INT)];
  if ('float' in value) return [floatField(2, value.float), intField(20, ATTRIBUTE_FLOAT)];
  return [...value.map((each) => intField(8, each)), intField(20, ATTRIBUTE_INTS)];
}

/** A ValueInfoProto of a tensor as field `field` of the graph. */
function valueInfo(field: number, name: string, type: ElementType, shape: readonly Axis[]): Field {
  const axes = shape.map((axis) =>
    messageField(1, [typeof axis === 'string' ? stringField(2, axis) : intField(1, axis)]),
  );
  const tensor = [intField(1, DATA_TYPES[type]), messageField(2, axes)];
  return messageField(field, [stringField(1, name), messageField(2, [messageField(1, tensor)])]);
}
