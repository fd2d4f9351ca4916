/** Letters that a paragraph needs to count as prose. */
const FEWEST_LETTERS = 12;
const LETTER_SHARE = 0.6;

/**
 * The paragraphs of a Markdown text that read as sentences: no code, headings, tables, lists of links, badges or HTML.
 * Links are reduced to their words, a paragraph to one line.
 */
export function proseOf(markdown: string): readonly string[] {
  return markdown
    .replaceAll('\r\n', '\n')
    .replaceAll(/^ *(```|~~~)[\s\S]*?^ *\1/gm, '\n\n')
    .split(/\n\s*\n/)
    .filter((paragraph) => !/^(\s{4}|\s*[#|<>[!=-])/.test(paragraph))
    .map(plain)
    .filter(isProse);
}

function plain(paragraph: string): string {
  return paragraph
    .replaceAll(/!\[[^\]]*\](\([^)]*\)|\[[^\]]*\])/g, '')
    .replaceAll(/\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])/g, '$1')
    .replaceAll(/[*_`]+/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

function isProse(text: string): boolean {
  const letters = text.match(/[A-Za-z]/g)?.length ?? 0;
  return letters >= FEWEST_LETTERS && letters >= LETTER_SHARE * text.length && /[.!?:]$/.test(text);
}
