import { readFileSync } from 'node:fs';

/** A statement of the folder `sql/`. PostgreSQL prepares it once for each connection, under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

const FOLDER = new URL('../sql/', import.meta.url);

/** Reads `sql/<name>.sql`. Call it while the module loads, so that a missing file ends the program at its start. */
export function loadStatement(name: string): Statement {
  return Object.freeze({ name, text: readFileSync(new URL(`${name}.sql`, FOLDER), 'utf8') });
}
