import { describe, expect, it } from '@jest/globals';
import { bytesField, encodeMessage, floatField, intField, messageField, stringField } from './protobuf.js';

describe('the protobuf writer', () => {
  it.each([
    ['a small integer', intField(1, 1), [0x08, 0x01]],
    ['an integer of two bytes', intField(1, 150), [0x08, 0x96, 0x01]],
    ['a negative integer in ten bytes', intField(1, -1), [0x08, ...Array<number>(9).fill(0xff), 0x01]],
    ['a field number above 15', intField(20, 2), [0xa0, 0x01, 0x02]],
    ['a string', stringField(2, 'testing'), [0x12, 0x07, ...Buffer.from('testing')]],
    ['a string that is not ASCII', stringField(2, 'é'), [0x12, 0x02, 0xc3, 0xa9]],
    ['a float', floatField(3, 1), [0x1d, 0x00, 0x00, 0x80, 0x3f]],
    ['bytes', bytesField(4, Uint8Array.of(9, 8)), [0x22, 0x02, 9, 8]],
    ['a message', messageField(3, [intField(1, 150)]), [0x1a, 0x03, 0x08, 0x96, 0x01]],
    ['an empty message', messageField(3, []), [0x1a, 0x00]],
  ])('writes %s', (_, field, expected) => {
    expect([...encodeMessage([field])]).toEqual(expected);
  });
});
