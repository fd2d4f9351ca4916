import { readFile } from 'node:fs/promises';

enum Level {
  Debug = 'debug',
  Info = 'info',
  Error = 'error',
}

interface Entry {
  level: Level;
  message: string;
  at?: Date;
}

export async function readErrors(path: string): Promise<Entry[]> {
  const lines: string[] = (await readFile(path, 'utf8')).split('\n');
  const entries = lines.filter(Boolean).map((line) => JSON.parse(line) as Entry);
  return entries.filter((entry: Entry) => entry.level === Level.Error);
}
