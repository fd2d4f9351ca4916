import { readFile } from 'node:fs/promises';

/** The text of a Lua script or SQL statement of this package, by its path below the package, such as `sql/x.sql`. */
export function sourceFile(path: `${'lua' | 'sql'}/${string}`): Promise<string> {
  return readFile(new URL(`../${path}`, import.meta.url), 'utf8');
}
