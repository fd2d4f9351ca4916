const MAX_HEADERS_LENGTH = 16_384;

/** PostgreSQL's text and jsonb take any character but U+0000. */
export function printable(value: string): string {
  return value.replaceAll('\u0000', '\uFFFD');
}

/**
 * AMQP headers as plain JSON values, whatever a stranger has put there; left out as a whole when they are longer than
 * 16 Ki characters.
 */
export function printableHeaders(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const json = JSON.stringify(headers, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : typeof value === 'string' ? printable(value) : value,
  );
  if (json.length > MAX_HEADERS_LENGTH) return { omitted: 'the headers were too long' };
  return JSON.parse(json.replaceAll('\\u0000', '\\ufffd')) as Record<string, unknown>;
}
