import { describe, expect, it } from '@jest/globals';
import { cursorAfter, listPage, readCursor } from './page-cursor.js';

const isItem = (last: string): boolean => /^\d+$/.test(last);
const filters = { state: ['failed'], model: undefined };

describe('a cursor', () => {
  it('leads to where its page ended', () => {
    expect(readCursor(cursorAfter('17', filters), filters, isItem)).toBe('17');
  });

  it('is refused by a list with other filters', () => {
    expect(() => readCursor(cursorAfter('17', filters), { state: ['expired'] }, isItem)).toThrow('other filters');
  });

  it.each([
    '',
    '17',
    'x y z',
    Buffer.from('1 seventeen x').toString('base64url'),
    Buffer.from('0 17 x').toString('base64url'),
    '💥',
  ])('is refused when it is "%s"', (cursor) =>
    expect(() => readCursor(cursor, filters, isItem)).toThrow('is not a cursor'),
  );
});

describe('a page', () => {
  const shape = { view: (item: number) => ({ item }), cursor: (last: number) => `after ${last}` };

  it('has a cursor while there is more', () => {
    expect(listPage([3, 2, 1], 2, shape)).toEqual({
      object: 'list',
      data: [{ item: 3 }, { item: 2 }],
      hasMore: true,
      nextCursor: 'after 2',
    });
  });

  it('ends without one', () => {
    expect(listPage([1], 2, shape)).toMatchObject({ hasMore: false, nextCursor: null });
    expect(listPage([], 2, shape)).toMatchObject({ data: [], hasMore: false, nextCursor: null });
  });
});
