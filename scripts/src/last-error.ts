interface LogLine {
  readonly level?: string;
  readonly msg?: string;
  readonly err?: { readonly message?: string };
}

const MAX_PLAIN_LINES = 10;
const NOTICE = /^\(node:\d+\)|^\(Use `/;
const ERROR = /^\s*(?:Uncaught )?\w*Error\b.*:/;

/**
 * Why an app ended, from its log: what it wrote as plain text behind its last JSON line (a configuration that cannot
 * be read, a crash), else its last line of level `error` or `fatal`. Undefined when the log says nothing.
 */
export function lastError(log: string): string | undefined {
  const lines = log.split('\n').filter((line) => line.trim() !== '' && !NOTICE.test(line));
  const lastJson = lines.findLastIndex((line) => parse(line) !== undefined);
  return plainReason(lines.slice(lastJson + 1)) ?? loggedReason(lines);
}

function plainReason(lines: readonly string[]): string | undefined {
  if (lines.length === 0) return undefined;
  return lines.find((line) => ERROR.test(line))?.trim() ?? lines.slice(-MAX_PLAIN_LINES).join('\n');
}

function loggedReason(lines: readonly string[]): string | undefined {
  const entries = lines.flatMap((line) => parse(line) ?? []);
  const entry = entries.findLast(({ level }) => level === 'error' || level === 'fatal');
  return entry && [entry.msg, entry.err?.message].filter(Boolean).join(': ');
}

function parse(line: string): LogLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}
