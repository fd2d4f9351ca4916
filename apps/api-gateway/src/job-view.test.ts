import { describe, expect, it } from '@jest/globals';
import type { TensorMessage } from '@sluice/contracts';
import type { JobRecord } from '@sluice/store';
import { jobFromRecord } from './job-view.js';

/** What a client gets as the data of the outputs of a job. */
function dataOf(outputs: readonly TensorMessage[]): unknown[] {
  const record = {
    jobId: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
    expiresAtMs: 0,
    output: { task: 'tensors', encoding: 'json', outputs },
  };
  const { output } = jobFromRecord(record as unknown as JobRecord);
  return output?.task === 'tensors' ? output.outputs.map(({ data }) => data) : [];
}

function threes(name: string, elements: number): TensorMessage {
  const data = Buffer.alloc(elements, 3).toString('base64');
  return { name, datatype: 'UINT8', shape: [elements], data };
}

describe('the outputs of a job of tensors', () => {
  it('are lists up to 65,536 elements together, and base64 from there', () => {
    const outputs = [threes('a', 40_000), threes('b', 40_000), threes('c', 25_536), threes('d', 1)];
    const [a, b, c, d] = dataOf(outputs);
    expect([a, c]).toEqual([new Array(40_000).fill(3), new Array(25_536).fill(3)]);
    expect([b, d]).toEqual([outputs[1]?.data, outputs[3]?.data]);
  });

  it('are lists although one of them has no exact numbers in JSON', () => {
    const nan = { ...threes('a', 0), datatype: 'FP32' as const, shape: [1], data: 'AADAfw==' };
    expect(dataOf([nan, threes('b', 2)])).toEqual([nan.data, [3, 3]]);
  });
});
