import { describe, expect, it } from '@jest/globals';
import { createOnnxGraph } from './onnx-graph.js';

describe('the graph builder', () => {
  it('refuses a constant whose numbers do not fill its shape', () => {
    expect(() => createOnnxGraph('test').constant([2, 2], new Float32Array(3))).toThrow(/shape \[2,2\]/);
  });

  it('gives every value a name of its own', () => {
    const graph = createOnnxGraph('test');
    const input = graph.input('x', 'float32', ['batch', 2]);
    const names = [
      graph.op('Relu', [input]),
      graph.op('Relu', [input]),
      graph.scalar(1),
      graph.scalar(1),
      graph.integers(1, 2),
      ...graph.op3('DynamicQuantizeLinear', [input]),
    ];
    expect(new Set(names).size).toBe(names.length);
  });

  it('gives the same bytes for the same calls', () => {
    const build = (): Buffer => {
      const graph = createOnnxGraph('test');
      const sum = graph.op('Add', [graph.input('x', 'float32', ['batch', 2]), graph.scalar(1)]);
      graph.output(graph.op('Softmax', [sum], { axis: -1 }), 'y', 'float32', ['batch', 2]);
      return graph.build();
    };
    expect(build().equals(build())).toBe(true);
  });
});
