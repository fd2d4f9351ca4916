import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { applyOperations, difference } from './json-patch.js';
import type { Json } from './objects.js';

describe('difference', () => {
  it('names what was added, removed and replaced', () => {
    expect(difference({ a: 1, b: [1, 2], c: { d: 'x' } }, { b: [1, 3], c: { d: 'x' }, e: null })).toEqual([
      { op: 'remove', path: '/a' },
      { op: 'replace', path: '/b/1', value: 3 },
      { op: 'add', path: '/e', value: null },
    ]);
  });

  it('replaces a list of another length whole', () => {
    expect(difference({ a: [1, 2] }, { a: [1] })).toEqual([{ op: 'replace', path: '/a', value: [1] }]);
  });

  it('escapes names with slashes and tildes', () => {
    expect(difference({}, { 'a/b~c': 1 })).toEqual([{ op: 'add', path: '/a~1b~0c', value: 1 }]);
  });

  it('makes the one of the other, whatever they are', () => {
    const json = fc.json().map((text) => JSON.parse(text) as Json);
    fc.assert(
      fc.property(json, json, (before, after) => {
        expect(applyOperations(before, difference(before, after))).toEqual(after);
      }),
    );
  });
});

describe('applyOperations', () => {
  it.each([
    [{ op: 'replace', path: '/b', value: 1 }],
    [{ op: 'remove', path: '/b' }],
    [{ op: 'add', path: '/b/c', value: 1 }],
    [{ op: 'replace', path: '/list/3', value: 1 }],
  ] as const)('refuses %j, whose place is not there', (operation) => {
    expect(() => applyOperations({ a: 1, list: [1] }, [operation])).toThrow(operation.path);
  });
});
