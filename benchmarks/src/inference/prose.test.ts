import { describe, expect, it } from '@jest/globals';
import { proseOf } from './prose.js';

describe('proseOf', () => {
  it('keeps paragraphs, each as one line of plain words', () => {
    const markdown =
      'It *works*\nin every [browser](https://example.org/x) and in `node` too.\r\n\r\nA second one, quite short.';
    expect(proseOf(markdown)).toEqual(['It works in every browser and in node too.', 'A second one, quite short.']);
  });

  it.each([
    ['headings', '# A heading that reads like a sentence.'],
    ['fenced code', '```js\nthis looks like words but it is code.\n\nAnd so does this.\n```'],
    ['indented code', '    this looks like words but it is code.'],
    ['tables', '| a cell that reads | like a sentence. |'],
    ['lists', '- an item of a list that reads so.'],
    ['HTML', '<p>a paragraph of the other kind.</p>'],
    ['badges', '[![build](https://example.org/b.svg)](https://example.org/b)'],
    ['what is mostly figures', 'v1 2024-01-01 0.1.2 0.1.3 0.1.4 0.1.5 0.1.6 released today.'],
    ['what does not end', 'Words without the end of a sentence'],
  ])('leaves out %s', (_, markdown) => {
    expect(proseOf(markdown)).toEqual([]);
  });
});
