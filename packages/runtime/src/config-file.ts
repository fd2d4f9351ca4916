import { readFile } from 'node:fs/promises';
import { inOwnWords } from '@sluice/contracts';
import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { ConfigError } from './config-error.js';

const REFERENCE = /\$\{([A-Z_][A-Z0-9_]*)(?::-([^}]*))?\}/g;

/**
 * Reads a YAML file, replaces `${NAME}` and `${NAME:-default}` by environment variables, validates it and freezes it.
 *
 * @throws ConfigError with every problem as `file:line: path: reason`.
 */
export async function loadConfigFile<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  environment: NodeJS.ProcessEnv,
): Promise<z.output<Schema>> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : message;
    throw new ConfigError('The configuration has problems', [`${path}: cannot be read: ${why}`]);
  });
  return parseConfig({ path, text, schema, environment });
}

export interface ParseConfigOptions<Schema extends z.ZodType> {
  /** Named in problems. */
  readonly path: string;
  readonly text: string;
  readonly schema: Schema;
  readonly environment: NodeJS.ProcessEnv;
}

/** `loadConfigFile` for text that is already read. */
export function parseConfig<Schema extends z.ZodType>(options: ParseConfigOptions<Schema>): z.output<Schema> {
  const { path, schema, environment } = options;
  const missing: string[] = [];
  const text = options.text.replace(REFERENCE, (reference, name: string, fallback: string | undefined, at: number) => {
    const value = environment[name] ?? fallback;
    if (value === undefined) missing.push(`${path}:${lineAt(options.text, at)}: ${reference} is not set`);
    return value ?? '';
  });

  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const syntax = document.errors.map(
    (error) => `${path}:${lines.linePos(error.pos[0]).line}: ${error.message.split('\n')[0]}`,
  );
  if (missing.length + syntax.length > 0)
    throw new ConfigError('The configuration has problems', [...missing, ...syntax]);

  const parsed = schema.safeParse(valueOf(document, path), { error: inOwnWords });
  if (parsed.success) return deepFreeze(parsed.data);
  throw new ConfigError(
    'The configuration has problems',
    parsed.error.issues.map((issue) => {
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : [];
      const line = lines.linePos(offsetOf(document, [...issue.path, ...keys.slice(0, 1)])).line;
      return `${path}:${line}: ${issue.path.join('.') || '(file)'}: ${issue.message}`;
    }),
  );
}

/** n.b. that an alias has no anchor, or stands for too much, is noticed only here. */
function valueOf(document: Document, path: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new ConfigError('The configuration has problems', [`${path}: ${(error as Error).message.split('\n')[0]}`]);
  }
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

/** Where the deepest existing part of `path` stands; a missing key is reported where its parent begins. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true);
    const key = keyNode(parent, path[length - 1]);
    if (key !== undefined) return key;
    const node = document.getIn(path.slice(0, length), true);
    const start = startOf(node);
    if (start !== undefined) return start;
  }
  return 0;
}

function keyNode(parent: unknown, key: PropertyKey | undefined): number | undefined {
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === key);
  return startOf(pair?.key);
}

function startOf(node: unknown): number | undefined {
  const range = (node as { range?: readonly number[] | null } | undefined)?.range;
  return range?.[0];
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
