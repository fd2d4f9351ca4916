/**
 * How many combining marks in a row are normalized together. Putting marks into canonical order takes time quadratic in
 * their number, so a short request of marks alone could stop a gateway for minutes. Writing systems use up to about
 * five, "zalgo" text some dozens.
 */
export const MAX_MARKS_TOGETHER = 128;

/** Marks, and the two halfwidth letters whose compatibility form is a mark. */
const LONG_RUN_OF_MARKS = new RegExp(`[\\p{M}\\uff9e\\uff9f]{${MAX_MARKS_TOGETHER}}`, 'gu');

/**
 * Unicode NFKC in time linear in the text: exactly `text.normalize('NFKC')` unless more than `MAX_MARKS_TOGETHER`
 * combining marks follow each other, which are then normalized in groups of that many.
 */
export function normalizeCompatibly(text: string): string {
  if (text.length <= MAX_MARKS_TOGETHER) return text.normalize('NFKC');
  let normalized = '';
  let from = 0;
  for (const { 0: marks, index } of text.matchAll(LONG_RUN_OF_MARKS)) {
    const end = index + marks.length;
    normalized += text.slice(from, end).normalize('NFKC');
    from = end;
  }
  return normalized + text.slice(from).normalize('NFKC');
}
