import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { storableJson, storableText } from './storable.js';

describe('storableText', () => {
  it('replaces U+0000 and lone surrogates and keeps pairs', () => {
    expect(storableText('a\0b')).toBe('a\uFFFDb');
    expect(storableText('x\uD800y\uDC00')).toBe('x\uFFFDy\uFFFD');
    expect(storableText('😀')).toBe('😀');
  });
});

describe('storableJson', () => {
  it('leaves everything else as it is, also text that looks like an escape', () => {
    const value = { a: '\\u0000', b: ['\\ud800', '"\\'], c: 1.5, d: null, e: true, f: 'ü😀\u2028' };
    expect(JSON.parse(storableJson(value))).toEqual(value);
  });

  it('replaces unstorable characters in keys, values and arrays', () => {
    expect(JSON.parse(storableJson({ 'k\0': ['v\0', { w: '\uDFFF' }] }))).toEqual({
      'k\uFFFD': ['v\uFFFD', { w: '\uFFFD' }],
    });
  });

  it('writes bigint as text', () => {
    expect(storableJson({ a: 12n, b: '\0' })).toBe('{"a":"12","b":"\uFFFD"}');
  });

  it('never lets an unstorable escape through', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        const text = storableJson(value);
        const strings: string[] = [];
        JSON.parse(text, (key, member: unknown) => {
          strings.push(key);
          if (typeof member === 'string') strings.push(member);
          return member;
        });
        expect(strings.every((string) => !/\p{Surrogate}/u.test(string) && !string.includes('\0'))).toBe(true);
      }),
    );
  });
});
