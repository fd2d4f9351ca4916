const UNSTORABLE_ESCAPE = /\\u(?:0000|d[89a-f])/;
const LONE_SURROGATE = /\p{Surrogate}/gu;

/**
 * Text as PostgreSQL takes it: U+0000 and lone surrogates, which it refuses, become U+FFFD. A job is billed whatever
 * its labels hold.
 */
export function storableText(text: string): string {
  return text.replaceAll('\0', '\uFFFD').replace(LONE_SURROGATE, '\uFFFD');
}

/** `value` as JSON that a jsonb column takes. bigint becomes text. */
export function storableJson(value: unknown): string {
  const json = JSON.stringify(value, bigintAsText);
  // JSON.stringify writes exactly the two unstorable kinds of character as such escapes.
  return UNSTORABLE_ESCAPE.test(json) ? JSON.stringify(cleaned(value)) : json;
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [storableText(key), cleaned(member)]));
}
