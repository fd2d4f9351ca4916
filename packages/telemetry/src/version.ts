import { readFileSync } from 'node:fs';

/** The version of the suite, which is that of all its packages. */
export const SUITE_VERSION = versionOf(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

function versionOf(packageFile: string): string {
  return (JSON.parse(packageFile) as { readonly version: string }).version;
}
